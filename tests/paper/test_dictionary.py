"""The data dictionary: nothing undescribed, types from contracts, metadata that agree with the files."""

import functools
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import tomllib

import nbformat
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_notebook, new_raw_cell

from deepvalues.ask import catalogue
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.paper import dictionary, metadata, tables
from deepvalues.studies.svo import stimuli as svo_items

DATA = paths.DATA


@pytest.fixture(scope="module")
def described():
    return dictionary.describe(DATA)


@pytest.fixture(scope="module")
def croissant(described):
    return json.loads(metadata.croissant(paths.ROOT, described))


@pytest.fixture
def small(tmp_path):
    """A project of one table, and a call that writes its declarations."""
    data = tmp_path / "data"
    (data / "results" / "x").mkdir(parents=True)
    (data / "results" / "x" / "t.csv").write_text("model,rate,rate_low,flag\na,.5,,True\nb,1,.9,False\n")
    shutil.copy(paths.ROOT / "pyproject.toml", tmp_path)
    shutil.copy(paths.ROOT / "CITATION.cff", tmp_path)
    written = {name: {"what": "w", "by": "b"} for name in ("README.md", "croissant.json", "dictionary.yml")}
    items = yaml.safe_load((DATA / "dictionary.yml").read_text())

    def declare(columns=None, **files):
        content = {
            "files": {**written, "results/x/t.csv": {"what": "a table", "by": "a test"}, **files},
            # Items of the studies need their meanings in every project.
            "columns": items["columns"]
            | dict.fromkeys(("files", "columns", "items", "formats"), "m; m")
            | (columns or {}),
            "items": items["items"],
            "formats": items["formats"],
        }
        content["columns"] = {name: text for name, text in content["columns"].items() if text}
        (data / "dictionary.yml").write_text(yaml.safe_dump(content, sort_keys=False))
        return data

    return declare


# ---- the project's own dictionary


def test_every_file_and_column_is_described(described):
    assert {file.path for file in described.files} == set(dictionary.files_in_git(DATA))
    assert all(file.what and file.by for file in described.files)


def test_the_files_are_those_that_git_keeps(described):
    git = ["git", "-C", str(paths.ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "data"]
    listed = subprocess.run(git, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git clone")
    kept = {path.removeprefix("data/") for path in listed.stdout.splitlines() if (paths.ROOT / path).exists()}
    assert {file.path for file in described.files} == kept | {"README.md", "croissant.json"}


def test_what_is_written_down_is_what_the_files_give(described):
    """As `make paper` leaves it; run `deepvalues dictionary` where this fails."""
    assert (DATA / "README.md").read_text(encoding="utf-8") == dictionary.readme(described)
    assert (paths.ROOT / "codemeta.json").read_text(encoding="utf-8") == metadata.codemeta(paths.ROOT)


def test_no_declaration_is_left_over(described):
    said = tables.registry(DATA)
    used = {file.pattern for file in described.files}
    may_be_absent = {"sources.lock", "responses/*.log.jsonl", "results/manifest.json"}
    assert set(said.files) - used <= may_be_absent
    names = {column.name for entry in (*described.files, *described.items) for column in entry.columns}
    endings = (*tables.ENDS, "_holm")
    bases = {name.removesuffix(ending) for name in names for ending in endings}
    assert set(said.columns) <= names | bases


def test_units_are_given_and_meanings_fit_a_table(described):
    for entry in (*described.files, *described.items):
        for column in entry.columns:
            assert column.unit and column.meaning, column
            assert not re.search(r"[|\n]", column.unit + column.meaning), column
            assert not column.meaning.startswith(('"', "'")), column


def test_codes_of_the_results_are_explained(described):
    coded = {
        "results/dvb/coverage.csv": ["estimand", "scope", "effects", "method"],
        "results/dvb/power.csv": ["method"],
        "results/dvb/verdict_errors.csv": ["truth"],
        "results/dvb/intervals.csv": ["method"],
        "results/dvb/print_and_recomputation.csv": ["class"],
        "results/dvb/separability.csv": ["layer", "classifier"],
        "results/dvb/wording_similarity.csv": ["layer"],
        "results/dvb/vocabulary.csv": ["layer"],
        "results/dvb/rates_by_dimension.csv": ["direction"],
        "results/profiles/fidelity.csv": ["direction"],
    }
    files = {file.path: {column.name: column for column in file.columns} for file in described.files}
    for path, names in coded.items():
        for name in names:
            # "none" is a code too, not an empty cell.
            for code in pd.read_csv(DATA / path, keep_default_na=False)[name].unique():
                bare = code.removesuffix("s")  # "flattens" and "exaggerates" stand in sentences
                assert re.search(rf"\b{re.escape(bare)}", files[path][name].meaning), (path, name, code)


def test_check_sums_of_the_record_are_as_the_dictionary_says():
    records = [path for path in (DATA / "responses").glob("*/*.jsonl") if not path.match("*.log.jsonl")]
    for path in sorted(records):
        with path.open("rb") as lines:
            line = next(lines)
        before, _, after = line.rpartition(b',"check":"')
        assert after == hashlib.blake2b(before, digest_size=4).hexdigest().encode() + b'"}\n', path


@pytest.mark.parametrize(("study", "model"), [("dvb", "agent-sensitive"), ("svo", "agent-svo-follower")])
def test_keys_of_the_record_are_as_the_dictionary_says(study, model):
    def canonical(content, ascii_only):
        return json.dumps(content, ensure_ascii=ascii_only, sort_keys=True, separators=(",", ":")).encode()

    asked, entry = catalogue.study(study), catalogue.registry().model(model)
    conversations = {each.item: each for each in asked.conversations(asked.items("standard"))}
    checked = 0
    with (DATA / "responses" / study / f"{model}.jsonl").open(encoding="utf-8") as lines:
        for line in itertools.islice(lines, 40):
            answer = json.loads(line)
            if answer["turn"] or answer["item"] not in conversations:
                continue
            messages = hashlib.sha256(canonical(conversations[answer["item"]].messages(()), False)).digest()
            parts = (asked.seed, messages.hex(), answer["repeat"])
            drawn = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
            seed = int.from_bytes(drawn, "big") % 2**31
            settings = {**asked.parameters, "seed": seed, **entry.parameters}
            settings = {name: value for name, value in settings.items() if value is not None}
            head = canonical([entry.endpoint.kind, entry.served_as, settings, answer["repeat"]], True)
            assert answer["key"] == hashlib.sha256(head + b"\0" + messages).hexdigest()[:32]
            checked += 1
    assert checked


def test_items_are_described_from_the_contracts(described):
    found = {study: items for items in described.items for study in items.studies}
    assert set(found) == set(catalogue.studies())
    for name, study in catalogue.studies().items():
        assert [column.name for column in found[name].columns] == list(study.contract.columns)
    mode = next(column for column in found["svo"].columns if column.name == "mode")
    assert mode.allowed == "one of " + ", ".join(svo_items.MODES)
    turns = next(column for column in found["svo"].columns if column.name == "turns")
    assert (turns.kind, turns.allowed) == ("integer", "6 to 18")
    assert next(c for c in found["dvb"].columns if c.name == "id").allowed == "unique"


# ---- what is missing is named


def test_a_table_is_described_from_its_header(small):
    data = small({"flag": "yes or no; a mark"})
    (table,) = [file for file in dictionary.describe(data).files if file.path == "results/x/t.csv"]
    assert [(column.name, column.kind) for column in table.columns] == [
        ("model", "text"),
        ("rate", "number"),
        ("rate_low", "number"),
        ("flag", "boolean"),
    ]
    low = table.columns[2]
    assert (low.unit, low.meaning) == ("share", "lower end of the 95% interval of rate")


def test_yes_and_no_with_empty_cells_are_boolean(small):
    data = small({"flag": "yes or no; a mark"})
    (data / "results" / "x" / "t.csv").write_text("model,rate,rate_low,flag\na,.5,,True\nb,1,.9,\n")
    (table,) = [file for file in dictionary.describe(data).files if file.path == "results/x/t.csv"]
    assert table.columns[-1].kind == "boolean"


@pytest.mark.parametrize("filled", ["a", "b"])
def test_types_of_a_family_are_those_of_all_its_files(small, filled):
    """A field that is null in one file has the type that another gives it, whichever comes first."""
    entry = {
        "what": "answers",
        "by": "b",
        "shown": "responses/<study>/<model>.jsonl",
        "columns": {"logprobs": "JSON; chances", "size": "number; a size"},
    }
    data = small({"flag": "yes or no; a mark"}, **{"responses/*.jsonl": entry})
    (data / "responses" / "s").mkdir(parents=True)
    for name in ("a", "b"):
        line = {"logprobs": {"content": []}, "size": 0.5} if name == filled else {"logprobs": None, "size": 1}
        (data / "responses" / "s" / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    described = dictionary.describe(data)
    for file in described.files:
        if file.pattern == "responses/*.jsonl":
            assert [column.kind for column in file.columns] == ["structure", "number"]
    text = dictionary.readme(described)
    assert "## `responses/<study>/<model>.jsonl`" in text
    assert "| `logprobs` | structure | JSON | chances |" in text
    assert "null so far" not in text


@pytest.mark.parametrize(
    ("kinds", "merged"),
    [
        (("null so far", "null so far"), "null so far"),
        (("text", "null so far"), "text"),
        (("integer", "null so far", "number"), "number"),
        (("text", "structure", "text"), "structure or text"),
    ],
)
def test_types_that_differ_are_joined(kinds, merged):
    assert functools.reduce(dictionary._merged, kinds) == merged


def test_an_undescribed_column_is_named_with_its_file(small):
    with pytest.raises(UserError, match=r"results/x/t\.csv: column flag: no description"):
        dictionary.describe(small())


def test_an_undescribed_file_is_named_with_what_to_add(small):
    data = small({"flag": "yes or no; a mark"})
    (data / "results" / "x" / "new.csv").write_text("model\n")
    with pytest.raises(UserError, match=r"results/x/new\.csv: a file without a description; under `files`"):
        dictionary.describe(data)


def test_all_faults_are_listed_at_once(small):
    data = small({"rate": ""})
    with pytest.raises(UserError) as error:
        dictionary.describe(data)
    assert [word in str(error.value) for word in ("column rate:", "column rate_low:", "column flag:")] == [
        True
    ] * 3


def test_a_meaning_for_a_column_that_is_gone_is_a_fault(small):
    entry = {"what": "w", "by": "b", "columns": {"flag": "yes or no; a mark", "gone": "count; away"}}
    with pytest.raises(UserError, match="describes gone, which the file does not have"):
        dictionary.describe(small(**{"results/x/t.csv": entry}))


def test_a_result_is_written_by_the_notebook_that_declares_it(small):
    data = small({"flag": "yes or no; a mark"}, **{"results/x/t.csv": {"what": "w"}})
    with pytest.raises(
        UserError, match=r"t\.csv: no `by`, nor a notebook that declares that it makes the file"
    ):
        dictionary.describe(data)
    (data.parent / "notebooks").mkdir()
    for name, made in {"03_a": "x/t.csv", "12_b": "x/other.csv"}.items():
        header = new_raw_cell(f"---\nmakes: [data/results/{made}]\n---")
        nbformat.write(new_notebook(cells=[header]), data.parent / "notebooks" / f"{name}.ipynb")
    (table,) = [file for file in dictionary.describe(data).files if file.path == "results/x/t.csv"]
    assert table.by == "notebook 3"


def test_a_table_of_a_column_that_the_file_lacks_is_a_fault(small):
    table = ["model", "flag", {"other": "of another frame"}, "typo", "flag_interval"]
    entry = {"what": "w", "by": "b", "table": table}
    with pytest.raises(UserError, match=r"table: not in the file, and without a head: typo, flag_interval\n"):
        dictionary.describe(small({"flag": "yes or no; a mark"}, **{"results/x/t.csv": entry}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid YAML: line 2"),
        ("files: {}", "has to have the keys files, columns, items, formats"),
        (
            "{files: {a: {by: b, typo: c}}, columns: {}, items: {}, formats: {}}",
            "a: an entry may have by, columns",
        ),
        (
            "{files: {}, columns: {rate: a share}, items: {}, formats: {}}",
            'column rate: is written "unit; meaning"',
        ),
    ],
)
def test_declarations_of_another_form_are_refused(tmp_path, content, message):
    (tmp_path / "dictionary.yml").write_text(content)
    with pytest.raises(UserError, match=message):
        tables.registry(tmp_path)


def test_missing_declarations_say_where_they_were_expected(tmp_path):
    with pytest.raises(UserError, match=r"dictionary\.yml: file not found"):
        tables.registry(tmp_path)


def test_a_contract_gives_types_and_is_enforced(small):
    contract = "deepvalues.studies.svo.stimuli:CONTRACT"
    entry = {"what": "w", "by": "b", "contract": contract}
    data = small(**{"results/x/t.csv": entry})
    catalogue.study("svo").items("smoke").to_csv(data / "results" / "x" / "t.csv", index=False)
    (table,) = [file for file in dictionary.describe(data).files if file.path == "results/x/t.csv"]
    assert next(column for column in table.columns if column.name == "openings").allowed == "0 to 3"
    frame = catalogue.study("svo").items("smoke").assign(openings=7)
    frame.to_csv(data / "results" / "x" / "t.csv", index=False)
    with pytest.raises(
        UserError,
        match=r"results/x/t\.csv does not meet deepvalues\.studies\.svo\.stimuli:CONTRACT: .*openings",
    ):
        dictionary.describe(data)


@pytest.mark.parametrize(
    "name",
    ["deepvalues.nowhere:CONTRACT", "deepvalues.studies.svo.stimuli:NONE", "deepvalues.core.paths:ROOT"],
)
def test_an_unknown_contract_is_named(small, name):
    with pytest.raises(UserError, match=name):
        dictionary.describe(small(**{"results/x/t.csv": {"what": "w", "by": "b", "contract": name}}))


@given(st.text(st.characters(categories=["Ll", "Nd"], include_characters="_"), min_size=1, max_size=12))
def test_ends_of_intervals_follow_from_the_column(name):
    said = tables.Registry({}, {name: "share; what it is"}, {}, {})
    assert said.column(name, {})[:2] == ("share", "what it is")
    assert said.column(f"{name}_high", {})[:2] == ("share", f"upper end of the 95% interval of {name}")
    assert said.column(f"{name}_holm", {})[:2] == ("probability", f"{name} after Holm's correction")
    assert said.column(f"un{name}known", {}) is None
    assert said.column(name, {name: "count; other here"})[:2] == ("count", "other here")


def test_two_runs_write_the_same_bytes(small):
    data = small({"flag": "yes or no; a mark"})
    first = [file.read_bytes() for file in metadata.write(data.parent)]
    assert [file.read_bytes() for file in metadata.write(data.parent)] == first
    assert dictionary.files_in_git(data) == [
        "README.md",
        "croissant.json",
        "dictionary.yml",
        "results/x/t.csv",
    ]


# ---- Croissant and CodeMeta


def test_croissant_has_what_the_format_requires(croissant):
    assert croissant["@type"] == "sc:Dataset"
    assert croissant["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    for key in ("name", "description", "license", "url", "creator", "datePublished", "version", "citeAs"):
        assert croissant[key], key
    assert re.fullmatch(r"\d+\.\d+\.\d+", croissant["version"])


def test_croissant_is_plain_text_and_states_what_its_licence_leaves_out(croissant):
    fields = [field for records in croissant["recordSet"] for field in records["field"]]
    for entry in (croissant, *croissant["distribution"], *croissant["recordSet"], *fields):
        assert not re.search(r"\*\*|`|\]\(", entry["description"]), entry["@type"]
    assert "exempt is published/" in croissant["description"]


def test_croissant_has_the_check_sum_and_size_of_every_file(croissant, described):
    objects = {
        entry["@id"]: entry for entry in croissant["distribution"] if entry["@type"] == "cr:FileObject"
    }
    assert set(objects) == {file.path for file in described.files} - {"croissant.json"}
    for path, entry in objects.items():
        if path == "README.md":  # written by the same run
            continue
        content = (DATA / path).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest(), path
        assert entry["contentSize"] == f"{len(content)} B"
        assert (DATA / entry["contentUrl"]).is_file()


def test_croissant_ids_are_single_and_every_source_is_there(croissant):
    fields = [field for records in croissant["recordSet"] for field in records["field"]]
    places = [entry["@id"] for entry in croissant["distribution"]]
    ids = [
        *places,
        *(records["@id"] for records in croissant["recordSet"]),
        *(field["@id"] for field in fields),
    ]
    assert len(ids) == len(set(ids))
    assert not [name for name in ids if re.search(r"\s", name)]
    for field in fields:
        source = field["source"].get("fileObject") or field["source"]["fileSet"]
        assert source["@id"] in places
        assert field["dataType"] in {"sc:Integer", "sc:Float", "sc:Boolean", "sc:Text"}
    keys = [records["key"]["@id"] for records in croissant["recordSet"] if "key" in records]
    assert set(keys) <= {field["@id"] for field in fields}


def test_croissant_fields_are_the_columns_of_the_tables(croissant):
    for records in croissant["recordSet"]:
        file = DATA / f"{records['@id']}.csv"
        if file.is_file():
            columns = [field["source"]["extract"]["column"] for field in records["field"]]
            assert columns == list(pd.read_csv(file, nrows=0)), file


def test_croissant_has_every_record(croissant):
    sets = {
        entry["@id"]: entry["includes"]
        for entry in croissant["distribution"]
        if entry["@type"] == "cr:FileSet"
    }
    listed = [path for includes in sets.values() for path in includes]
    assert sorted(listed) == [
        path for path in dictionary.files_in_git(DATA) if path.endswith(".jsonl") and ".log." not in path
    ]


def test_codemeta_citation_and_package_say_the_same():
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    code = json.loads((paths.ROOT / "codemeta.json").read_text())
    assert code["version"] == project["version"] == str(citation["version"])
    assert code["datePublished"] == str(citation["date-released"])
    assert code["softwareRequirements"] == project["dependencies"]
    assert code["codeRepository"] == citation["repository-code"]
    # A list of licences would leave the choice to the user, in CFF and in CodeMeta.
    assert citation["license"] == project["license"] == "MIT"
    assert code["license"] == "https://spdx.org/licenses/MIT"
    assert "CC BY 4.0" in citation["abstract"] and "data/published" in citation["abstract"]
    assert code["author"] == metadata._authors(citation), "run make dictionary"


def test_all_files_name_the_authors_of_the_citation():
    """Authorship is filled in at CITATION.cff alone; the message names the files that do not follow it."""

    def text(file):
        return " ".join((paths.ROOT / file).read_text("utf-8").replace("’", "'").split())

    def listed(authors):
        return ", ".join(authors).replace("’", "'")

    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text("utf-8"))
    _, head, _ = (paths.ROOT / "paper" / "index.qmd").read_text("utf-8").split("---\n", 2)
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    expected = listed(
        author.get("name") or f"{author['given-names']} {author['family-names']}"
        for author in citation["authors"]
    )
    found = {
        "paper/index.qmd, author": listed(author["name"] for author in yaml.safe_load(head)["author"]),
        "pyproject.toml, authors": listed(author["name"] for author in project["authors"]),
        "LICENSE, copyright": re.search(r"Copyright \(c\) \S+ (.*?) Permission", text("LICENSE"))[1],
        "LICENSE-CC-BY-4.0.md, credit": re.search('credit to "(.*?)"', text("LICENSE-CC-BY-4.0.md"))[1],
    }
    wrong = [f"{place}: {names}" for place, names in found.items() if names.lower() != expected.lower()]
    assert not wrong, f"change to the authors in CITATION.cff ({expected}): {'; '.join(wrong)}"


def test_the_citation_has_what_its_format_requires():
    citation = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"] and citation["title"] and citation["type"] == "software"
    for entry in [citation, *citation["references"]]:
        assert entry["authors"] and entry["title"]
        for author in entry["authors"]:
            assert "name" in author or {"family-names", "given-names"} <= set(author)
    assert all(entry["type"] for entry in citation["references"])


def test_people_are_persons_in_the_metadata():
    authors = [{"family-names": "Ito", "given-names": "Ken"}, {"name": "A group"}]
    assert metadata._authors({"authors": authors}) == [
        {"@type": "Person", "givenName": "Ken", "familyName": "Ito"},
        {"@type": "Organization", "name": "A group"},
    ]
