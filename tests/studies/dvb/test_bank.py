"""The wording bank: what v1 holds, and that each rule stops a bank that breaks it.

Rules that count words or phrases are recomputed here from the filled text, without the package's own
code for them.
"""

import re
import shutil
from collections import defaultdict
from functools import partial
from itertools import combinations, count
from statistics import fmean

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wordfreq import zipf_frequency

import bank_sums
from deepvalues.core import paths
from deepvalues.core.errors import UserError
from deepvalues.studies.dvb.stimuli import bank as banks
from deepvalues.studies.dvb.stimuli.bank import (
    SLOTS,
    SPLITS,
    checksum,
    in_family,
    load_bank,
    problems,
    read_bank,
)

# The published design (section 2 to 4 of the specification).
ROSS = {"Beneficence", "Fidelity", "Justice", "Non-maleficence", "Reparation", "Self-improvement"}
SCHWARTZ = {"Security", "Conformity", "Tradition", "Benevolence", "Universalism"}
DIMENSIONS = {
    "Adaptability": ("adaptive", "static"),
    "Conciseness": ("concise", "detailed"),
    "Response speed": ("fast", "slow"),
    "Form of address": ("formal", "informal"),
    "Language style": ("formal", "colloquial"),
    "Interaction frequency": ("frequent", "infrequent"),
    "Feedback frequency": ("frequent", "minimal"),
    "Update frequency": ("frequent", "infrequent"),
    "Engagement level": ("high", "low"),
    "Voice": ("human-like", "robotic"),
    "Humor": ("humorous", "serious"),
    "Visual design": ("minimalist", "elaborate"),
    "Predictability": ("predictable", "unpredictable"),
    "Proactivity": ("proactive", "reactive"),
    "Interaction length": ("short", "long"),
    "Language complexity": ("simple", "complex"),
    "Learning curve": ("steep", "shallow"),
    "Information depth": ("surface-level", "in-depth"),
    "Visual aids": ("visual", "non-visual"),
    "Interaction medium": ("voice", "text"),
}
COMMON = {
    "getting information",
    "making decisions and solving problems",
    "organizing, planning and prioritizing work",
    "updating and using relevant knowledge",
    "establishing and maintaining interpersonal relationships",
    "communicating with supervisors, peers or subordinates",
}
_TRADE = {
    "analyzing data",
    "communicating with people outside the organization",
    "processing information",
    "working with computers",
}
_IDENTIFYING = "identifying objects, actions and events"
OTHERS = {
    "Commerce": _TRADE,
    "Finance": _TRADE,
    "Communication": {
        _IDENTIFYING,
        "processing information",
        "thinking creatively",
        "working with computers",
    },
    "Customer service": _TRADE - {"analyzing data"} | {"working directly with the public"},
    "Education": {
        "coaching and developing others",
        "interpreting the meaning of information",
        "thinking creatively",
        "training and teaching",
    },
    "Healthcare": {
        "assisting and caring for others",
        "documenting information",
        _IDENTIFYING,
        "monitoring processes or surroundings",
    },
    "Legal": {
        "analyzing data",
        "evaluating compliance with standards",
        _IDENTIFYING,
        "processing information",
    },
    "Productivity": {
        "analyzing data",
        _IDENTIFYING,
        "processing information",
        "working with computers",
    },
}


def plain_words(text):
    """Words of a text, found another way than the package finds them."""
    return [word.strip(".,()\"'“”").lower() for word in text.replace("’", "'").split()]


def filled(trait, split, nouns):
    return [wording.template.format(**nouns) for wording in trait.wordings[split]]


# ---- what v1 holds ----


def test_v1_is_frozen():
    """Answers are keyed by the text: a change of wording undoes all that were given."""
    assert checksum(paths.BANK) == bank_sums.kept()["bank"]


def test_checksum_sees_every_byte_and_every_name(tmp_path):
    for name, text in [("values/a.yml", "x"), ("values/b.yml", "y")]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    seen = [checksum(tmp_path), checksum(tmp_path)]
    assert seen[0] == seen[1]
    (tmp_path / "values/b.yml").write_text("z")
    seen.append(checksum(tmp_path))
    (tmp_path / "values/b.yml").rename(tmp_path / "values/c.yml")
    seen.append(checksum(tmp_path))
    assert len(set(seen)) == 3


def test_v1_breaks_no_rule(bank):
    assert bank.version == "v1"
    assert list(problems(bank)) == []


def test_values_are_the_published_ones(bank):
    sets = defaultdict(set)
    for value in bank.values.values():
        sets[value.group].add(value.name)
    assert sets == {"ross_duty": ROSS, "schwartz_social": SCHWARTZ}


def test_dimensions_are_the_published_ones_with_the_first_pole_first(bank):
    found = {
        dimension.name: tuple(bank.poles[pole].name for pole in dimension.poles)
        for dimension in bank.dimensions.values()
    }
    assert found == DIMENSIONS
    assert len(bank.poles) == len({trait.id for trait in bank.traits}) - 11 == 40


def test_domains_have_the_published_activities(bank):
    found = {
        domain.name: {activity.name for activity in domain.activities.values()}
        for domain in bank.domains.values()
    }
    assert found == {name: COMMON | others for name, others in OTHERS.items()}
    assert all(len(activities) == 10 for activities in found.values())


def test_wordings_per_trait_and_split(bank):
    for trait in bank.traits:
        assert {split: len(trait.wordings[split]) for split in SPLITS} == {"train": 14, "test": 10}, trait.id
    assert banks.MINIMUM_WORDINGS == {"train": 14, "test": 10}


def test_every_activity_has_scenes_for_both_splits(bank):
    for domain in bank.domains.values():
        for activity in domain.activities.values():
            scenes = [scene.template for split in SPLITS for scene in activity.scenes[split]]
            assert len(activity.scenes["train"]) >= 2
            assert len(activity.scenes["test"]) >= 1
            assert len(set(scenes)) == len(scenes)


def test_every_value_pole_and_domain_has_a_definition_and_families(bank):
    for owner in (*bank.traits, *bank.domains.values()):
        assert len(owner.definition.split()) >= 5, owner.id
    for trait in bank.traits:
        assert len(trait.families) >= 2, trait.id


def test_every_trait_lists_its_own_name_among_its_families(bank):
    for trait in bank.traits:
        assert in_family(trait.name.lower(), trait.families), trait.id


def test_wordings_have_6_to_14_words_in_every_domain(bank):
    for domain in bank.domains.values():
        for trait in bank.traits:
            for split in SPLITS:
                for text in filled(trait, split, domain.nouns):
                    assert 6 <= len(text.split()) <= 14, text


def test_wordings_are_verb_phrases_in_the_third_person(bank):
    """They continue "An agent that …"."""
    adverbs = {"can", "cannot", "hardly", "never", "suddenly"}
    firsts = {
        plain_words(wording.template)[0]
        for trait in bank.traits
        for split in SPLITS
        for wording in trait.wordings[split]
    }
    assert {word for word in firsts if not word.endswith("s")} <= adverbs


def test_most_wordings_use_the_nouns_of_the_domain_and_all_slots_occur(bank):
    templates = [
        wording.template for trait in bank.traits for split in SPLITS for wording in trait.wordings[split]
    ]
    with_slot = [template for template in templates if "{" in template]
    assert len(with_slot) > 0.65 * len(templates)
    assert set(re.findall(r"\{(.*?)\}", " ".join(templates))) == set(SLOTS)


def rare(texts, below=3.5):
    """The tokens whose Zipf frequency is below a number, and their share."""
    tokens = [
        token for text in texts for token in re.findall(r"[a-z']+", re.sub(r"\{.*?\}", " ", text).lower())
    ]
    found = [token for token in tokens if zipf_frequency(token, "en") < below]
    return len(found) / len(tokens), found


def test_words_are_common(bank):
    """Zipf frequency: log10 of occurrences per billion words; 3.5 is once in 316,000.

    At most 5 % of all tokens are rarer, and not many more of any one trait or domain.
    """
    of_traits = {
        trait.id: [wording.template for split in SPLITS for wording in trait.wordings[split]]
        for trait in bank.traits
    }
    of_domains = {
        domain.id: [
            s.template for a in domain.activities.values() for split in SPLITS for s in a.scenes[split]
        ]
        for domain in bank.domains.values()
    }
    for texts in (of_traits, of_domains):
        assert rare([text for own in texts.values() for text in own])[0] <= 0.02
        for id, own in texts.items():
            share, found = rare(own)
            assert share <= 0.055, (id, found)
    assert rare(["tells the {person} about a serendipitous palimpsest"]) == (
        pytest.approx(2 / 6),
        ["serendipitous", "palimpsest"],
    )


def test_no_wording_or_scene_is_a_simile(bank):
    simile = re.compile(r"\b(like (a|an|the)|as if|as though|the way an?|as \w+ as an?)\b")
    texts = [w.template for trait in bank.traits for split in SPLITS for w in trait.wordings[split]]
    texts += [
        scene.template
        for domain in bank.domains.values()
        for activity in domain.activities.values()
        for split in SPLITS
        for scene in activity.scenes[split]
    ]
    assert [text for text in texts if simile.search(text)] == []
    assert simile.search("speaks as if it were a butler") and simile.search("works like a lift")


def family_pattern(families):
    """One regular expression for a list of families: whole words, or beginnings marked by ``*``."""
    words = [re.escape(family).replace(r"\*", r"\w*") for family in families]
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.IGNORECASE)


def test_no_wording_uses_a_forbidden_family_once_the_slots_are_filled(bank):
    patterns = {trait.id: family_pattern(trait.families) for trait in bank.traits}
    for trait in bank.traits:
        own_poles = [pole.id for pole in bank.poles.values() if pole.group == trait.group]
        forbidden = [*bank.values, *(bank.poles if trait.kind == "value" else own_poles)]
        assert trait.id in forbidden
        for domain in bank.domains.values():
            text = "\n".join(text for split in SPLITS for text in filled(trait, split, domain.nouns))
            for other in forbidden:
                assert not patterns[other].search(text), (trait.id, other)


def test_no_scene_and_no_noun_uses_any_family(bank):
    pattern = family_pattern(sorted({family for trait in bank.traits for family in trait.families}))
    for domain in bank.domains.values():
        scenes = [
            scene.template.format(**domain.nouns)
            for activity in domain.activities.values()
            for split in SPLITS
            for scene in activity.scenes[split]
        ]
        assert not pattern.search("\n".join(scenes)), domain.id
        assert not pattern.search(" ".join(domain.nouns.values())), domain.id


def runs_of_five(text):
    words = plain_words(text)
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def test_no_five_words_in_a_row_occur_in_two_wordings_or_scenes(bank):
    """Across all domains at once, so that nothing in training comes back in a test."""
    places = defaultdict(set)
    for domain in bank.domains.values():
        for trait in bank.traits:
            for split in SPLITS:
                for number, text in enumerate(filled(trait, split, domain.nouns)):
                    for run in runs_of_five(text):
                        places[run].add((trait.id, split, number))
        for activity in domain.activities.values():
            for split in SPLITS:
                for number, scene in enumerate(activity.scenes[split]):
                    for run in runs_of_five(scene.template.format(**domain.nouns)):
                        places[run].add((domain.id, activity.id, split, number))
    assert len(places) > 10_000
    assert {run: where for run, where in places.items() if len(where) > 1} == {}


def test_train_and_test_wordings_share_no_five_words_in_a_row(bank):
    runs = {
        split: {
            run
            for domain in bank.domains.values()
            for trait in bank.traits
            for text in filled(trait, split, domain.nouns)
            for run in runs_of_five(text)
        }
        for split in SPLITS
    }
    assert runs["train"]
    assert runs["test"]
    assert not runs["train"] & runs["test"]


def mean_words(bank, trait, split):
    nouns = bank.domains["legal"].nouns
    return fmean(len(text.split()) for text in filled(trait, split, nouns))


@pytest.mark.parametrize("split", SPLITS)
def test_mean_lengths_differ_by_at_most_15_per_cent(bank, split):
    groups = [[bank.poles[pole] for pole in dimension.poles] for dimension in bank.dimensions.values()]
    for group in [*groups, list(bank.values.values())]:
        for one, other in combinations(group, 2):
            lengths = sorted(mean_words(bank, trait, split) for trait in (one, other))
            assert lengths[1] <= 1.15 * lengths[0], (one.id, other.id)


def test_mean_length_is_that_of_the_filled_text(bank):
    for trait in bank.traits:
        for split in SPLITS:
            assert banks.mean_length(trait, split) == pytest.approx(mean_words(bank, trait, split))


# ---- families ----


def test_families_are_words_not_mechanical_stems(bank):
    """Stems would ban "in" and "level" and miss "just"."""
    assert in_family("just", bank.values["justice"].families) == "just"
    assert in_family("justify", bank.values["justice"].families) is None
    assert in_family("unfairness", bank.values["justice"].families) == "unfair*"
    for word in ("in", "level", "with", "one"):
        assert not any(in_family(word, trait.families) for trait in bank.traits), word


@pytest.mark.parametrize(
    ("word", "families", "family"),
    [
        ("just", ["just"], "just"),
        ("justice", ["just"], None),
        ("adjust", ["just*"], None),
        ("fairest", ["fair*"], "fair*"),
        ("fair", ["fair*"], "fair*"),
        ("fai", ["fair*"], None),
        ("fair-minded", ["fair"], "fair"),
        ("open-minded", ["minded"], "minded"),
        ("justice's", ["justice"], "justice"),
        ("in-depth", ["in-depth"], "in-depth"),
        ("depth", ["in-depth"], None),
        ("good", ["just", "good*"], "good*"),
    ],
)
def test_in_family(word, families, family):
    assert in_family(word, families) == family


LETTERS = st.text(alphabet="abc", min_size=1, max_size=5)


@given(LETTERS, LETTERS)
def test_a_family_is_a_whole_word_or_a_marked_beginning(word, family):
    assert (in_family(word, [family]) is not None) == (word == family)
    assert (in_family(word, [family + "*"]) is not None) == word.startswith(family)


def test_words_keep_apostrophes_and_hyphens():
    assert banks.words("The user’s in-depth chart, re-read: 3 times.") == [
        "the",
        "user's",
        "in-depth",
        "chart",
        "re-read",
        "3",
        "times",
    ]


# ---- each rule stops a bank that breaks it ----

KEPT = {
    "values": ("justice", "fidelity", "security"),
    "dimensions": ("adaptability", "humor"),
    "domains": ("legal",),
}
#: What a copy of that size breaks by its size alone.
BASE = {("values", "-"), ("dimensions", "-"), ("domains", "-")}
#: The first training wording of justice in the copy; as long as a wording may be.
COSTS = "shares out the costs of a plan according to what each {person} can bear"


@pytest.fixture
def small(tmp_path):
    """A few files of v1 with sentences of the tests' own, so that no test rests on a shipped wording."""
    numbers = count(1)
    for folder, names in KEPT.items():
        (tmp_path / "v1" / folder).mkdir(parents=True)
        for name in names:
            shutil.copy(paths.BANK / folder / f"{name}.yml", tmp_path / "v1" / folder)
            edit(tmp_path / "v1", f"{folder}/{name}.yml", partial(reword, numbers))
    edit(tmp_path / "v1", "values/justice.yml", put(COSTS, "train", 0))
    return tmp_path / "v1"


def reword(numbers, entry):
    """Put a new sentence in place of every wording and scene; a number in its middle keeps it from others."""
    plain = "keeps a list of x{} for each {{person}} here", "Today a {{person}} gets x{} from the {{staff}}."
    kinds = [(owner, plain[0]) for owner in (entry, *entry.get("poles", {}).values())]
    kinds += [(activity, plain[1]) for activity in entry.get("activities", {}).values()]
    for owner, sentence in kinds:
        for split in set(SPLITS) & set(owner):
            owner[split] = [sentence.format(next(numbers)) for _ in owner[split]]


def edit(folder, file, change):
    """Change an entry of a copied bank in place."""
    path = folder / file
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(entry)
    path.write_text(yaml.safe_dump(entry, allow_unicode=True, sort_keys=False, width=200), encoding="utf-8")


def test_a_small_bank_breaks_nothing_but_the_numbers_of_entries(small):
    found = list(problems(read_bank(small)))
    assert {(problem.file, problem.entry) for problem in found} == BASE
    assert {problem.rule for problem in found} == {"number of entries"}
    assert found[0].detail == "3, and the design needs 11"


def value(text, place=0, split="train"):
    def change(entry):
        entry[split][place] = text

    return "values/justice.yml", change, f"justice.{split}.{place + 1:02d}"


def pole(text, place=0):
    def change(entry):
        entry["poles"]["serious"]["train"][place] = text

    return "dimensions/humor.yml", change, f"humor.serious.train.{place + 1:02d}"


def scene(text):
    def change(entry):
        entry["activities"]["getting_information"]["train"][0] = text

    return "domains/legal.yml", change, "legal.getting_information.train.01"


def noun(text):
    def change(entry):
        entry["nouns"]["place"] = text

    return "domains/legal.yml", change, "legal"


def at(file, entry, change):
    return file, change, entry


def cut(*keys, to):
    """Shorten a list deep in an entry."""

    def change(entry):
        for key in keys:
            entry = entry[key]
        del entry[to:]

    return change


def put(content, *keys):
    """Set something deep in an entry."""

    def change(entry):
        for key in keys[:-1]:
            entry = entry[key]
        entry[keys[-1]] = content

    return change


def lengthen(entry):
    entry["test"] = [" ".join(f"x{row}y{place}" for place in range(14)) for row in range(10)]


def without_slot(entry):
    del entry["nouns"]["place"]


def without_activity(entry):
    del entry["activities"]["getting_information"]


BREAKS = {
    "unknown slot": (*value("serves each {client} in the order of their birth"), "slots", "{client}"),
    "open slot": (*value("serves each {person in the order of their birth"), "slots", "{person in"),
    "stray brace": (*value("serves each person} in the order of their birth"), "slots", "person}"),
    "unknown slot in a scene": (*scene("The {client} wants to find out a name."), "slots", "{client}"),
    "too few training wordings": (
        *at("values/justice.yml", "justice", cut("train", to=13)),
        "number of wordings",
        "train: 13 of 14",
    ),
    "too few test wordings": (
        *at("values/justice.yml", "justice", cut("test", to=9)),
        "number of wordings",
        "test: 9 of 10",
    ),
    "too few wordings of a pole": (
        *at("dimensions/humor.yml", "humor.serious", cut("poles", "serious", "test", to=9)),
        "number of wordings",
        "test: 9 of 10",
    ),
    "too few scenes": (
        *at(
            "domains/legal.yml",
            "legal.getting_information",
            cut("activities", "getting_information", "train", to=1),
        ),
        "number of scenes",
        "train: 1 of 2",
    ),
    "own family": (
        *value("tells what is just from what is merely usual here"),
        "forbidden family",
        "'just' belongs to justice (just)",
    ),
    "family of another value": (
        *value("keeps the {people} safe from the costs of others' plans"),
        "forbidden family",
        "'safe' belongs to security (safe*)",
    ),
    "pole in a value": (
        *value("adjusts the costs of a plan to what a {person} has"),
        "forbidden family",
        "'adjusts' belongs to adaptability.adaptive (adjust*)",
    ),
    "value in a pole": (
        *pole("keeps to truthful reports about a {record} and nothing more"),
        "forbidden family",
        "'truthful' belongs to fidelity (truth*)",
    ),
    "own pole": (
        *pole("keeps a serious face while it reads a {record} aloud"),
        "forbidden family",
        "'serious' belongs to humor.serious (serious*)",
    ),
    "other pole of the dimension": (
        *pole("leaves out whatever sounds humorous when it reads a {record}"),
        "forbidden family",
        "'humorous' belongs to humor.humorous (humor*)",
    ),
    "family in a scene": (
        *scene("A {person} asks who was honest about the date."),
        "forbidden family",
        "'honest' belongs to fidelity (honest*)",
    ),
    "family in a noun": (*noun("fairground"), "forbidden family", "'fairground': justice"),
    "five words twice": (
        *pole("reads aloud the costs of a plan before a {task} begins"),
        "phrase of five words",
        "stands in justice.train.01 too",
    ),
    "too short": (*value("asks who would pay {people}"), "length", "5 words, not 6 to 14"),
    "too long": (*value(COSTS + " in this hard and very cold year"), "length", "21 words, not 6 to 14"),
    "capital": (*value("Serves each {person} in the order of their birth"), "form", "lower-case"),
    "full stop": (*value("serves each {person} in the order of their birth."), "form", "without a stop"),
    "colon": (*value("serves each {person}: in the order of their birth"), "form", "without a stop"),
    "trailing comma": (*value("serves each {person} in the order of their birth,"), "form", "without a stop"),
    "two clauses": (
        *value("serves each {person} in turn and that before all other {tasks}"),
        "form",
        "'and that' joins",
    ),
    "scene without a stop": (*scene("A {person} wants to find out a name"), "form", "full stop"),
    "two scenes in one": (*scene("a {person} wants to find out a name."), "form", "one sentence"),
    "article": (*value("serves an {person} in the order of their own birth"), "article", "'an {person}'"),
    "article at the start": (*scene("An {outsiders} list of names is lost."), "article", "'An {outsiders}'"),
    "noun with a vowel": (*noun("office"), "nouns", "place: 'office'"),
    "noun with a capital vowel": (*noun("Office"), "nouns", "place: 'Office'"),
    "two nouns": (*noun("law firm"), "nouns", "place: 'law firm'"),
    "missing noun": (*at("domains/legal.yml", "legal", without_slot), "nouns", "needs person, people"),
    "missing activity": (
        *at("domains/legal.yml", "legal", without_activity),
        "activities",
        "9 activities, and the design needs 10",
    ),
    "set": (*at("values/justice.yml", "justice", put("ross", "set")), "set", "'ross' is none of"),
    "empty definition": (
        *at("values/justice.yml", "justice", put("", "definition")),
        "definition and families",
        "empty",
    ),
    "no families": (
        *at("values/justice.yml", "justice", put([], "families")),
        "definition and families",
        "empty",
    ),
    "mean length": (
        *at("values/justice.yml", "justice", lengthen),
        "mean length",
        "test: 14.0 words on average",
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_each_rule_names_file_entry_and_rule(small, broken):
    file, change, entry, rule, detail = BREAKS[broken]
    edit(small, file, change)
    new = [problem for problem in problems(read_bank(small)) if (problem.file, problem.entry) not in BASE]
    assert {(problem.file, problem.entry, problem.rule) for problem in new} == {(file, entry, rule)}
    assert detail in new[0].detail
    with pytest.raises(UserError) as error:
        load_bank(small)
    assert f"  {file}: {entry}: {rule}: {new[0].detail}" in str(error.value).splitlines()


def test_five_words_clash_only_once_the_slots_are_filled(small, bank):
    person = bank.domains["legal"].nouns["person"]
    file, change, entry = pole(f"writes down what each {person} can bear of its stories")
    edit(small, file, change)
    assert "what each {person} can bear" in COSTS
    (problem,) = [found for found in problems(read_bank(small)) if found.rule == "phrase of five words"]
    assert (problem.file, problem.entry) == (file, entry)
    assert f"'what each {person} can bear' stands in justice.train.01 too" in problem.detail
    # In another domain the noun is another word, and nothing clashes.
    edit(small, "domains/legal.yml", put("trader", "nouns", "person"))
    assert not [found for found in problems(read_bank(small)) if found.rule == "phrase of five words"]


def test_four_words_in_common_are_allowed(small):
    file, change, _ = pole("reads aloud the costs of each plan before a {task} begins")
    edit(small, file, change)
    assert not [found for found in problems(read_bank(small)) if found.rule == "phrase of five words"]


def test_mean_length_compares_the_two_poles_of_a_dimension(small):
    def change(entry):
        for place, text in enumerate(entry["poles"]["serious"]["test"]):
            entry["poles"]["serious"]["test"][place] = " ".join(text.split()[:6]).rstrip(",")

    edit(small, "dimensions/humor.yml", change)
    found = [problem for problem in problems(read_bank(small)) if problem.rule == "mean length"]
    assert [(problem.file, problem.entry) for problem in found] == [
        ("dimensions/humor.yml", "humor.humorous")
    ]
    assert "humor.serious has 6.0" in found[0].detail


def test_a_long_list_of_problems_is_cut_and_counted(small):
    edit(small, "values/justice.yml", put([f"short {place}" for place in range(24)], "train"))
    with pytest.raises(UserError, match=r"breaks \d+ rules") as error:
        load_bank(small)
    lines = str(error.value).splitlines()
    total = int(re.search(r"breaks (\d+) rules", lines[0])[1])
    assert len(lines) == 22
    assert lines[-1] == f"  … and {total - 20} more"


def test_a_lone_problem_is_not_said_to_be_many(small, monkeypatch):
    monkeypatch.setattr(banks, "problems", lambda _: [banks.Problem("values/a.yml", "a", "length", "long")])
    with pytest.raises(UserError, match=r"breaks 1 rule:\n  values/a\.yml: a: length: long$"):
        load_bank(small)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"name: [Justice\n", r"values/justice\.yml: not valid YAML: .*line 2"),
        (b"name: caf\xe9\n", r"values/justice\.yml: not valid YAML: .*utf-8"),
        (b"", r"values/justice\.yml: the file is empty"),
        (b"- a list\n", r"values/justice\.yml: the entry is not shaped like the others"),
    ],
)
def test_a_malformed_file_is_named(small, content, match):
    (small / "values" / "justice.yml").write_bytes(content)
    with pytest.raises(UserError, match=f"(?s){match}"):
        load_bank(small)


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        ("values/justice.yml", ()),
        ("dimensions/humor.yml", ("poles", "serious")),
        ("domains/legal.yml", ()),
        ("domains/legal.yml", ("activities", "getting_information")),
    ],
)
def test_a_missing_key_is_named(small, file, keys):
    entry = yaml.safe_load((small / file).read_text(encoding="utf-8"))
    for key in keys:
        entry = entry[key]
    for missing in entry:

        def change(entry, missing=missing):
            for key in keys:
                entry = entry[key]
            del entry[missing]

        before = (small / file).read_text(encoding="utf-8")
        edit(small, file, change)
        with pytest.raises(UserError, match=rf"{file}: .*not shaped like the others.*'{missing}'"):
            load_bank(small)
        (small / file).write_text(before, encoding="utf-8")


def test_a_dimension_has_two_poles(small):
    edit(small, "dimensions/humor.yml", lambda entry: entry["poles"].pop("serious"))
    with pytest.raises(UserError, match=r"dimensions/humor\.yml: the entry is not shaped like the others"):
        load_bank(small)


@pytest.mark.parametrize("folder", KEPT)
def test_a_missing_file_and_a_missing_folder_are_named(tmp_path, folder):
    shutil.copytree(paths.BANK, tmp_path / "v1")
    files = sorted((tmp_path / "v1" / folder).iterdir())
    files[0].unlink()
    with pytest.raises(UserError, match=rf"{folder}: -: number of entries: {len(files) - 1}, and the design"):
        load_bank(tmp_path / "v1")
    shutil.rmtree(tmp_path / "v1" / folder)
    with pytest.raises(UserError, match=rf"{folder}: no YAML file"):
        load_bank(tmp_path / "v1")


def test_reading_a_yaml_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"none\.yml: file not found"):
        banks.read_yaml(tmp_path / "none.yml")


def test_values_have_names_for_running_text_set_by_set(bank):
    names = list(bank.value_names.values())
    assert set(bank.value_names) == set(bank.values)
    assert set(names[:6]) == {name.lower() for name in ROSS}
    assert set(names[6:]) == {name.lower() for name in SCHWARTZ}
    assert bank.value_names["non_maleficence"] == "non-maleficence"


def test_dimensions_have_names_with_those_of_their_poles(bank):
    names = bank.dimension_names(["humor", "terse_text/long_text"])
    assert {name: poles for name, *poles in names.values() if name in DIMENSIONS} == {
        name: list(poles) for name, poles in DIMENSIONS.items()
    }
    # One of the released data, which the bank lacks.
    assert names["terse_text/long_text"] == ("terse text or long text", "terse text", "long text")
    assert len(names) == len(DIMENSIONS) + 1
