"""Class lists in the forms that people have them. Every text here has red, green, blue as ids 0, 1, 2."""

import json
import re
from pathlib import Path

import pytest

from edge_vss import classes
from edge_vss.errors import OptionError
from tests.helpers.documents import ROOT, Block, blocks

NAMES = ("red", "green", "light blue")
COLOURS = ((220, 30, 30), (30, 200, 40), (30, 40, 220))
ROWS = list(zip(range(3), NAMES, COLOURS, strict=True))


def text(pattern: str, rows: list[tuple[int, str, tuple[int, int, int]]] = ROWS, head: str = "") -> str:
    """One line per class; ``{i} {name} {r} {g} {b} {hex}``."""
    lines = [
        pattern.format(i=i, one=i + 1, name=name, r=c[0], g=c[1], b=c[2], hex=bytes(c).hex())
        for i, name, c in rows
    ]
    return head + "\n".join(lines) + "\n"


BACKWARDS = ROWS[::-1]
OBJECTS = [{"id": i, "name": name, "color": list(colour)} for i, name, colour in ROWS]
PBTXT = "item {{\n  id: {i}\n  name: '{name}'\n}}"

WITH_COLOURS = {
    "colour last": text("{name} {r} {g} {b}"),
    "colour first": text("{r} {g} {b} {name}"),
    "colour first, tab": text("{r} {g} {b}\t\t{name}"),
    "comma, colour last": text("{name},{r},{g},{b}"),
    "comma, colour first": text("{r},{g},{b},{name}"),
    "comma and space": text("{name}, {r}, {g}, {b}"),
    "id and colour last": text("{i} {name} {r} {g} {b}"),
    "id and colour first": text("{i} {r} {g} {b} {name}"),
    "colour, then id": text("{name} {r} {g} {b} {i}"),
    "id, colour, with commas": text("{i},{name},{r},{g},{b}"),
    "id, colour, backwards": text("{i},{name},{r},{g},{b}", BACKWARDS),
    "CSV with a header": text("{name},{r},{g},{b}", head="name,r,g,b\n"),
    "CSV with a long header": text("{i},{name},{r},{g},{b}", head="id,class,red,green,blue\n"),
    "CSV in another order": text("{r};{g};{b};{name};{i}", BACKWARDS, head="r;g;b;label;index\n"),
    "TSV": text("{i}\t{name}\t{r}\t{g}\t{b}", head="id\tname\tr\tg\tb\n"),
    "quoted CSV": text('{i},"{name}",{r},{g},{b}', head="id,name,r,g,b\n"),
    "hex last": text("{name} #{hex}"),
    "hex first": text("#{hex} {name}"),
    "hex with 0x": text("{name} 0x{hex}"),
    "id and hex": text("{i} {name} #{hex}"),
    "id and hex, CSV": text("{i},{name},#{hex}", head="id,name,color\n"),
    "id and hex, backwards": text("{i},{name},#{hex}", BACKWARDS),
    "CVAT": text("{name}:{r},{g},{b}::", head="# label:color_rgb:parts:actions\n"),
    "CVAT with parts": text("{name}:{r},{g},{b}:a,b:c", head="# label:color_rgb:parts:actions\n"),
    "GIMP palette": text("{r} {g} {b}\t{name}", head="GIMP Palette\nName: streets\nColumns: 3\n#\n"),
    "CSV, blue first": text("{name},{b},{g},{r}", head="name,b,g,r\n"),
    "CSV, the colour in one cell": text('{name},"{r},{g},{b}"', head="name,color\n"),
    "hex without a mark": text("{name} {hex}"),
    "Markdown": text("| {i} | {name} | #{hex} |", head="| id | name | color |\n|---|:--:|---|\n"),
    "JSON objects": json.dumps(OBJECTS),
    "JSON lines": "\n".join(json.dumps(entry) for entry in OBJECTS),
    "JSON, name to colour": json.dumps({n: list(c) for _, n, c in ROWS}),
    "JSON, name to hex": json.dumps({n: "#" + bytes(c).hex() for _, n, c in ROWS}),
    "YAML objects": text("- name: {name}\n  color: [{r}, {g}, {b}]"),
    "JSON objects, backwards": json.dumps(OBJECTS[::-1]),
    "JSON, hex": json.dumps([{"name": n, "color": "#" + bytes(c).hex()} for _, n, c in ROWS]),
    "JSON, RGBA": json.dumps([{"name": n, "color": [*c, 255]} for _, n, c in ROWS]),
    "CVAT's JSON": json.dumps(
        [{"name": n, "color": "#" + bytes(c).hex(), "attributes": []} for _, n, c in ROWS]
    ),
    "Mapillary": json.dumps({"labels": [{"readable": n, "color": list(c)} for _, n, c in ROWS]}),
    "Supervisely": json.dumps({"classes": [{"title": n, "color": "#" + bytes(c).hex()} for _, n, c in ROWS]}),
    "Cityscapes' train ids": json.dumps(
        [{"id": 7 + i, "trainId": i, "name": n, "color": list(c)} for i, n, c in ROWS]
        + [{"id": 3, "trainId": 255, "name": "border", "color": [0, 0, 0]}]
    ),
}
NAMES_ALONE = {
    "names": text("{name}"),
    "names and comments": text("{name}", head="# my classes\n\n"),
    "id first": text("{i} {name}"),
    "id first, backwards": text("{i} {name}", BACKWARDS),
    "id and colon": text("{i}: {name}"),
    "id and colon, backwards": text("{i}:{name}", BACKWARDS),
    "id and dot": text("{i}. {name}"),
    "id last": text("{name} {i}"),
    "id last, backwards": text("{name} {i}", BACKWARDS),
    "id, comma": text("{i},{name}", BACKWARDS),
    "id, tab": text("{i}\t{name}", BACKWARDS),
    "id last, comma": text("{name},{i}", BACKWARDS),
    "pixel values": text("{i}, {name}", head="Pixel Value, Class\n"),
    "a column with a title": text("{name}", head="Name\n"),
    "comments of all kinds": text("{name} # it", head="// my classes\n; mine\n# all\n"),
    "id and arrow": text("{i} -> {name}", BACKWARDS),
    "id last, equals": text("{name}={i}", BACKWARDS),
    "id last, colon": text("{name}: {i}", BACKWARDS),
    "bullets": text("- {name}"),
    "commas at the ends": text('"{name}",'),
    "commas in one line": ", ".join(NAMES),
    "labelme": text("{name}", head="__ignore__\n"),
    "semicolons in one line": ";".join(NAMES),
    "JSON list": json.dumps(NAMES),
    "id2label": json.dumps({str(i): n for i, n, _ in BACKWARDS}),
    "label2id": json.dumps({n: i for i, n, _ in BACKWARDS}),
    "Hugging Face config": json.dumps(
        {"model_type": "segformer", "id2label": {str(i): n for i, n, _ in ROWS}, "num_labels": 3}
    ),
    "COCO categories": json.dumps({"categories": [{"id": i, "name": n} for i, n, _ in BACKWARDS]}),
    "YAML list": "path: x\nnc: 3\nnames: [red, green, light blue]\n",
    "YAML block": "nc: 3\nnames:\n  - red\n  - green\n  - light blue\n",
    "YAML with another key": text("  - {name}", head="classes:\n"),
    "YAML ids": "names:\n  2: light blue\n  1: green\n  0: red\n",
    "pbtxt": text(PBTXT),
    "pbtxt, backwards": text(PBTXT, BACKWARDS),
    "pbtxt, display names": text("item {{ name: 'n0' id: {i} display_name: \"{name}\" }}"),
}


def readable(content: str) -> str:
    """The same text. Skips the test where it is YAML, and PyYAML is not installed."""
    if re.search(r"^(?:names|classes)\s*:|^- name:", content, re.MULTILINE):
        pytest.importorskip("yaml", reason="PyYAML comes with the converters")
    return content


@pytest.mark.parametrize("form", WITH_COLOURS)
def test_names_and_colours(tmp_path: Path, form: str) -> None:
    path = tmp_path / "classes"
    path.write_text(readable(WITH_COLOURS[form]))
    found = classes.find(str(path))
    assert found.names == NAMES and found.palette == COLOURS


@pytest.mark.parametrize("form", NAMES_ALONE)
def test_names(tmp_path: Path, form: str) -> None:
    path = tmp_path / "classes"
    path.write_text(readable(NAMES_ALONE[form]))
    assert classes.find(str(path)).names == NAMES


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "names.txt").write_bytes((mark + end.join(["Straße", "ciel", "道路"])).encode(encoding))
    assert classes.find(str(tmp_path / "names.txt")).names == ("Straße", "ciel", "道路")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("class 0\nclass 1\nclass 2\n", ("class 0", "class 1", "class 2")),
        ("road\nroute 66\n", ("road", "route 66")),
        ('"route 66"\n"route 7"\n', ("route 66", "route 7")),
        ("1 road\n2 car\n", ("class 0", "road", "car")),
        ("0 road\n3 car\n", ("road", "class 1", "class 2", "car")),
        ("0 road\n255 void\n", ("road",)),
        ('{"0": "road", "255": "void"}', ("road",)),
        ("road 128 64 128\ncar\n", ("road", "car")),
        ('"a = b"\ncar\n', ("a = b", "car")),
        ("traffic sign (back)\nfacade\n", ("traffic sign (back)", "facade")),
        ("glass facade\nstone facade\n", ("glass facade", "stone facade")),
    ],
)
def test_ids_are_obeyed_and_names_kept(tmp_path: Path, content: str, names: tuple[str, ...]) -> None:
    (tmp_path / "names.txt").write_text(content)
    assert classes.find(str(tmp_path / "names.txt")).names == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 red\n1 green\nblue\n", "line 3: it has other numbers"),
        ("red 7\ngreen 26\n", "line 1: it is not clear whether 7 is an id"),
        ("0 red\n0 green\n", "line 2: the id 0 appears twice"),
        ("0 red\n1 red\n", "line 2: the class 'red' appears twice"),
        ("0 red\n300 green\n", "line 2: the id 300"),
        ("red:300,0,0::\n", "line 1: the colour 300 0 0 goes past 255"),
        ("300 0 0 red\n", "line 1: the colour 300 0 0 goes past 255"),
        ("red,1,2\ngreen,1,2\n", "line 1: it is not clear what its 2 numbers mean"),
        ("a,b\nc,d\n", "line 1: it is not clear which of 2 cells is the name"),
        ("0,red\n1,green,x\n", "line 2: it has 3 cells"),
        ("id,name\n0,red\nx,green\n", "line 3: the id 'x' is no number"),
        ("id,name\n0,\n", "line 2: the name is empty"),
        ("1 2 3\n4 5 6\n", "line 1: the name is empty"),
        ("item { id: 1 }", "line 1: this item has no id or no name"),
        ("item { id: 1 name: 'a' }\nitem { id: 2 name: 'b'", "line 2: .* is no item"),
        ("names: [red\n", "line 2: this is not valid YAML"),
        ("names: 7\n", "names is '7'"),
        ("[1, 2]", "entry 1 is '1'"),
        ('{"a": {"b": 1}}', "no list of classes"),
        ('[{"id": 1}]', "entry 1 has no name"),
        ('[{"name": "a", "color": "puce"}]', "entry 1 has the colour 'puce'"),
        ('["a", {"name": "b", "id": 1}]', "'a' has no id, and others have one"),
        ("[" * 5000, "not valid JSON"),
        ("a\x00b\n", "line 1: this is not text"),
        ("import numpy as np\nCLASSES = ('road', 'car')\n", "line 1: 'import numpy as np' is no class name"),
        ("labels = [\n    Label('road', 7, 0),\n]\n", "line 1: 'labels = .' is no class name"),
        ("const CLASSES = ['road', 'car'];\n", "line 1: .* is no class name"),
        ("('road', 'car')\n", "line 1: .* is no class name"),
        ("<classes>\n<class>road</class>\n</classes>\n", "line 1: '<classes>' is no class name"),
        ("road\nnames = [car]\n", "line 2: .* is no class name"),
        ("ENVI\nclasses = 2\n", "line 2: 'classes = 2' is no class name"),
        ("0.5 0.25 0.5 road\n", "line 1: colours are whole numbers"),
        ("road, 0.5, 0.25, 0.5\n", "line 1: colours are whole numbers"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a pointer of Git LFS"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(readable(content))
    with pytest.raises(OptionError, match=message) as caught:
        classes.find(str(tmp_path / "names.txt"))
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused_by_its_length(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\n" * 600_000)
    with pytest.raises(OptionError, match="has more than"):
        classes.find(str(tmp_path / "names.txt"))


EXAMPLES = [block for block in blocks(ROOT / "docs" / "classes.md") if block.title]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: block.title)
def test_the_examples_of_the_documents(tmp_path: Path, example: Block) -> None:
    path = tmp_path / example.title
    path.write_text(readable(example.text))
    found = classes.find(str(path))
    assert found.names == ("road", "sidewalk", "car")
    if "244" in example.text:
        assert found.palette == ((128, 64, 128), (244, 35, 232), (0, 0, 142))


def test_the_documents_list_the_known_sets() -> None:
    page = (ROOT / "docs" / "classes.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \| (\d+) \|.*\| (\d+) \|$", page, re.MULTILINE)
    known = {name: classes.find(name) for name in classes.presets()}
    assert sorted(listed) == [(name, str(len(known[name])), str(known[name].ignore)) for name in known]
    assert len(EXAMPLES) == 9
