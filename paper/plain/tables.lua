-- In a page, a table scrolls inside a frame of its own, below its caption: as in Quarto's pages. The keyboard reaches the
-- frame, and its name is the table's number, or its place on the page.
local count = 0

local function name(caption)
  local number = caption[1] and caption[1].tag == "Strong" and pandoc.utils.stringify(caption[1]):gsub("%.$", "")
  return number or "Table " .. count .. " of this page"
end

function Table(tbl)
  count = count + 1
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
  local frame = '<div class="scroll" tabindex="0" role="region" aria-label="' .. name(caption) .. '">'
  blocks:insert(pandoc.RawBlock("html", frame))
  blocks:insert(tbl)
  blocks:insert(pandoc.RawBlock("html", "</div></figure>"))
  return blocks
end
