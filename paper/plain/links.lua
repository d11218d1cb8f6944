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

-- A caption ends with links to its cell and data, which are of use on a page.
local function is_source(inline)
  return inline.tag == "Link" and pandoc.utils.stringify(inline) == "Source" and inline.target:match("%-preview%.html#")
end

local function without_source(inlines)
  local _, place = inlines:find_if(is_source)
  if not FORMAT:match("typst") or not place then
    return nil
  end
  if inlines[place - 1] and inlines[place - 1].tag:match("Space$") then
    place = place - 1
  end
  while inlines[place] and inlines[place].tag ~= "RawInline" do
    inlines:remove(place)
  end
  return inlines
end

return { { Meta = note }, { Inlines = without_source }, { Link = lead } }
