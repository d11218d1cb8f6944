-- Makes of the article what pandoc knows: Quarto's variables, embedded cells, labels, references and divs.
-- The sources come as JSON (`-M sources=FILE`), shortcodes as words of private-use characters: src/deepvalues/paper/article.py
-- writes both.
-- `deepvalues check` has found the faults, with their lines, before this runs.

local html = FORMAT:match("html") ~= nil
local sources
local KINDS = { fig = "Figure", tbl = "Table", sec = "Section", eq = "Equation" }
local CALLOUT = "^callout%-(%l+)$"
local VARIABLE = "\u{E000}var\u{E001}([^\u{E002}]*)\u{E002}"
local EMBED = "^\u{E000}embed\u{E001}([^\u{E002}]*)\u{E002}$"

local function kind_of(label)
  return KINDS[label:match("^(%l+)%-")] and label:match("^(%l+)%-")
end

local function read(text)
  return pandoc.read(text, "markdown", PANDOC_READER_OPTIONS).blocks
end

local function inlines(text)
  -- Behind a word, so that a value such as "2." begins no list.
  return pandoc.Inlines({ table.unpack(pandoc.utils.blocks_to_inlines(read("x " .. text)), 3) })
end

-- Variables -----------------------------------------------------------------------------------------------------

local function filled(text)
  return (text:gsub(VARIABLE, sources.variables))
end

-- Puts in the values; a page gets each with its key around it, but for headings, which the contents repeat.
local function values(marked)
  return function(str)
    local shown, at = pandoc.Inlines({}), 1
    for from, key, to in str.text:gmatch("()" .. VARIABLE .. "()") do
      local value = inlines(sources.variables[key])
      if html and marked then
        value = { pandoc.Span(value, pandoc.Attr("", { "number" }, { ["data-key"] = key })) }
      end
      shown:insert(pandoc.Str(str.text:sub(at, from - 1)))
      shown:extend(value)
      at = to
    end
    return at > 1 and shown .. { pandoc.Str(str.text:sub(at)) } or nil
  end
end

local function in_attributes(element)
  for name, value in pairs(element.attributes) do
    element.attributes[name] = filled(value)
  end
  return element
end

local function in_code(element)
  element.text = element.text:gsub("\u{E000}(.-)\u{E001}(.-)\u{E002}", "{{< %1 %2 >}}")
  return element
end

local function in_formula(math)
  math.text = filled(math.text)
  return math
end

-- Links are written as seen from the root of the site.
local function in_link(link)
  link.target = filled(link.target)
  for _, folder in ipairs({ "data", "figures", "notebooks" }) do
    link.target = link.target:gsub("^[./]+/(" .. folder .. "/)", "%1")
  end
  return in_attributes(link)
end

local function without_comments(element)
  if element.text:match("^<!%-%-") then
    return {}
  end
  element.text = filled(element.text)
  return element
end

-- Divs that only Quarto knows ------------------------------------------------------------------------------------

local function is_shown(div)
  local wanted, unwanted = div.attributes["when-format"], div.attributes["unless-format"]
  if not wanted and not unwanted then
    error('content-visible and content-hidden need when-format="…" or unless-format="…" here.')
  end
  local here = (wanted or unwanted):match("^html") and html or (wanted or unwanted) == "typst" and not html
  return (here == (wanted ~= nil)) == div.classes:includes("content-visible")
end

local function quarto_div(div)
  if div.classes:includes("content-visible") or div.classes:includes("content-hidden") then
    return is_shown(div) and div.content or {}
  end
  local kind = div.classes:find_if(function(class) return class:match(CALLOUT) end)
  if not kind then
    return in_attributes(div)
  end
  local title = pandoc.Inlines(div.attributes.title or (kind:match(CALLOUT):gsub("^%l", string.upper)))
  if div.content[1] and div.content[1].tag == "Header" then
    title = div.content:remove(1).content
  end
  if html then
    div.content:insert(1, pandoc.Plain({ pandoc.Span(title, { class = "callout-title" }) }))
    return pandoc.Div(div.content, pandoc.Attr("", { "callout", kind }))
  end
  div.content:insert(1, pandoc.Para({ pandoc.Strong(title) }))
  return pandoc.BlockQuote(div.content)
end

-- Figures, tables, equations -------------------------------------------------------------------------------------

local numbers, counts = {}, { fig = 0, tbl = 0, eq = 0 }

-- Numbers what has a label, in the order of the text.
local function number(element)
  local kind = kind_of(element.identifier)
  if counts[kind] then
    counts[kind] = counts[kind] + 1
    numbers[element.identifier] = tostring(counts[kind])
  end
  return kind
end

local function count(div)
  number(div)
end

local function captioned(element)
  local kind = number(element)
  if kind then
    local first = element.caption.long[1] or pandoc.Plain({})
    local head = KINDS[kind] .. " " .. numbers[element.identifier] .. "."
    first.content = pandoc.Inlines({ pandoc.Strong(head), pandoc.Space() }) .. first.content
    element.caption.long[1] = first
  end
  return element
end

local function typst_string(text)
  return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

local function figure(label, path, alternative, caption)
  local image = pandoc.Image(alternative, path)
  if not html then
    local call = "#image(" .. typst_string(path) .. ", alt: " .. typst_string(alternative) .. ")"
    image = pandoc.RawInline("typst", call)
  end
  return captioned(pandoc.Figure(pandoc.Plain({ image }), { long = caption }, pandoc.Attr(label)))
end

local function own_figure(element)
  local image = element.content[1].content[1]
  return figure(element.identifier, image.src, image.attributes["fig-alt"] or "", element.caption.long)
end

local function embedded(place)
  local cell, label = sources.cells[place], place:match("#(.*)$")
  if cell.table then
    return read(cell.table .. "\n\n: " .. cell.caption .. " {#" .. label .. "}\n"):walk({ Table = captioned })
  end
  return figure(label, cell.image, cell.alternative, read(cell.caption))
end

local function equation(math, label)
  local div = pandoc.Div({ pandoc.Para({ math }) }, pandoc.Attr(label, { "equation" }))
  number(div)
  local shown = "(" .. numbers[label] .. ")"
  if html then
    div.content:insert(pandoc.Para({ pandoc.Span(shown, { class = "equation-number" }) }))
    return div
  end
  local opening, closing = '#numbered("' .. shown .. '")[', "] <" .. label .. ">"
  return pandoc.Para({ pandoc.RawInline("typst", opening), math, pandoc.RawInline("typst", closing) })
end

-- A paragraph that is an embedded cell, or holds numbered equations.
local function paragraph(para)
  local inlines = para.content
  local place = #inlines == 1 and inlines[1].tag == "Str" and inlines[1].text:match(EMBED)
  if place then
    return embedded(place)
  end
  local blocks, at = pandoc.Blocks({}), 1
  for i = 3, #inlines do
    local math, text = inlines[i - 2], inlines[i].text
    local label = math.tag == "Math" and text and text:match("^{#(eq%-[%w_-]*%w)}")
    if label then
      blocks:insert(pandoc.Para({ table.unpack(inlines, at, i - 3) }))
      blocks:insert(equation(math, label))
      inlines[i].text = text:gsub("^{.-}", "")
      at = i
    end
  end
  if at > 1 then
    blocks:insert(pandoc.Para({ table.unpack(inlines, at) }))
    return blocks:filter(function(block) return pandoc.utils.stringify(block) ~= "" or block.tag == "Div" end)
  end
end

-- Numbers and references -----------------------------------------------------------------------------------------

-- Numbers the headings as pandoc does, and moves them: a page's title stands above them, a PDF's does not.
local function number_headings(doc)
  local top, levels = 6, {}
  doc:walk({ Header = function(header) top = math.min(top, header.level) end })
  return doc:walk({ Header = function(header)
    local depth = header.level - top + 1
    header.level = depth + (html and 1 or 0)
    if not header.classes:includes("unnumbered") then
      for level = 1, 6 do
        levels[level] = level > depth and 0 or (levels[level] or 0) + (level == depth and 1 or 0)
      end
      numbers[header.identifier] = table.concat(levels, ".", 1, depth)
    end
    return header
  end })
end

-- As in Quarto, the words before the first reference take the place of its name only.
local function reference(cite)
  local shown = pandoc.Inlines({})
  for place, citation in ipairs(cite.citations) do
    local label = citation.id:gsub("^%u", string.lower)
    if not kind_of(label) then
      return nil
    end
    local name = #citation.prefix > 0 and citation.prefix or pandoc.Inlines(KINDS[kind_of(label)])
    name = citation.mode == "SuppressAuthor" and pandoc.Inlines({}) or name .. { pandoc.Str("\u{A0}") }
    if place > 1 then
      shown:extend({ pandoc.Str(","), pandoc.Space() })
    end
    shown:insert(pandoc.Link(name .. { pandoc.Str(numbers[label]) }, "#" .. label))
    shown:extend(citation.suffix)
  end
  return shown
end

-- The header -----------------------------------------------------------------------------------------------------

local function listed(value)
  return value == nil and {} or pandoc.utils.type(value) == "List" and value or { value }
end

local function name_of(value)
  if pandoc.utils.type(value) ~= "table" then
    return pandoc.utils.stringify(value)
  end
  local whole = value.name or value.literal
  return whole and name_of(whole) or name_of(value.given) .. " " .. name_of(value.family)
end

-- The authors with name and affiliation, from the forms that Quarto allows.
local function name_authors(meta)
  local authors, names = pandoc.List({}), ""
  for _, author in ipairs(listed(meta.author or meta.authors)) do
    local fields = pandoc.utils.type(author) == "table" and author or {}
    local places = pandoc.List(listed(fields.affiliations or fields.affiliation)):map(name_of)
    authors:insert({ name = name_of(author), affiliation = table.concat(places, ", ") })
    names = names .. typst_string(name_of(author)) .. ","
  end
  meta.author = authors
  meta.names = pandoc.MetaInlines({ pandoc.RawInline("typst", "(" .. names .. ")") })
end

function Pandoc(doc)
  local file = assert(io.open(pandoc.utils.stringify(doc.meta.sources)))
  sources = pandoc.json.decode(file:read("a"), false)
  file:close()
  if sources.address ~= "" then
    doc.meta.manuscript = { ["manuscript-url"] = sources.address } -- for links.lua
  end
  for _, name in ipairs({ "title", "subtitle" }) do
    doc.meta[name] = doc.meta[name] and doc.meta[name]:walk({ Str = values(false) })
  end
  name_authors(doc.meta)
  doc = doc:walk({ Header = function(header) return header:walk({ Str = values(false) }) end })
  doc = doc:walk({
    Str = values(true), Math = in_formula, Code = in_code, CodeBlock = in_code, Link = in_link,
    Span = in_attributes, Div = quarto_div, RawInline = without_comments, RawBlock = without_comments,
  })
  doc = number_headings(doc)
  doc = doc:walk({ Para = paragraph, Figure = own_figure, Table = captioned, Div = count })
  return doc:walk({ Cite = reference })
end
