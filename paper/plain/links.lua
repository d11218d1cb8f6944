-- In a PDF, links to pages and data of the site lead to its address (`manuscript-url` in _quarto.yml): beside a PDF
-- that was sent to somebody lies nothing. Both renderings use this; pages keep links that work from disk.

local address

local function note(meta)
  local manuscript = meta.manuscript
  if FORMAT:match("typst") and manuscript and manuscript["manuscript-url"] then
    address = pandoc.utils.stringify(manuscript["manuscript-url"]):gsub("/*$", "/")
  end
end

local function lead(link)
  local elsewhere = link.target:match("^%a[%w+.-]*:") or link.target:match("^[#/]")
  if address and link.target ~= "" and not elsewhere then
    while link.target:match("^%.%./") do
      link.target = link.target:sub(4)
    end
    link.target = address .. link.target
    return link
  end
end

return { { Meta = note }, { Link = lead } }
