-- In a page, a table scrolls inside a frame of its own, below its caption: as in Quarto's pages.
function Table(tbl)
  local caption = pandoc.utils.blocks_to_inlines(tbl.caption.long)
  local blocks = pandoc.Blocks({})
  local id = tbl.identifier ~= "" and (' id="' .. tbl.identifier .. '"') or ""
  tbl.identifier = ""
  tbl.caption = { long = {} }
  blocks:insert(pandoc.RawBlock("html", '<figure class="table"' .. id .. ">"))
  if #caption > 0 then
    blocks:insert(pandoc.RawBlock("html", "<figcaption>"))
    blocks:insert(pandoc.Plain(caption))
    blocks:insert(pandoc.RawBlock("html", "</figcaption>"))
  end
  blocks:insert(pandoc.RawBlock("html", '<div class="scroll">'))
  blocks:insert(tbl)
  blocks:insert(pandoc.RawBlock("html", "</div></figure>"))
  return blocks
end
