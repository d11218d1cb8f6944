-- In the PDF a figure inside a block can't go to the head or foot of a page: the blocks that Quarto puts
-- around an embedded cell are taken away, once it has made its figures (`at: pre-finalize`).

local function is_wrapper(div)
  return div.classes:includes("quarto-embed-nb-cell") or div.classes:includes("quarto-scaffold")
end

function Div(div)
  if FORMAT:match("typst") and is_wrapper(div) then
    return div.content
  end
end
