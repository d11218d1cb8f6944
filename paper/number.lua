-- Marks every {{< var … >}} of the text with its key, so that the page can show where a number comes from.
-- It has to run before Quarto puts the values in (`at: pre-ast`). Titles, headings and print stay as they are.

local function mark(span)
  local key = span.classes:includes("quarto-shortcode__")
    and (span.attributes["data-raw"] or ""):match("^{{<%s*var%s+(%S+)%s*>}}$")
  if key then
    return pandoc.Span({ span }, pandoc.Attr("", { "number" }, { ["data-key"] = key })), false
  end
end

local function leave(element)
  return element, false
end

function Pandoc(doc)
  if FORMAT:match("html") then
    doc.blocks = doc.blocks:walk({ traverse = "topdown", Header = leave, Span = mark })
  end
  return doc
end
