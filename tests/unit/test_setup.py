"""What a build of the wheel keeps of the last one (setup.py)."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_the_wheel", TOP / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "proxy" / "wire").mkdir(parents=True)
    (tmp_path / "setup.py").write_text("COMPILED = ()\n")
    (tmp_path / "proxy" / "errors.py").write_text("class ProxyError(Exception): ...\n")
    (tmp_path / "proxy" / "wire" / "flow.py").write_text("LIMIT = 1\n")
    return tmp_path


def built(directory: Path, content: bytes) -> list[str]:
    """What a build leaves in its directory; the names of the libraries."""
    (directory / "proxy").mkdir(parents=True, exist_ok=True)
    (directory / "proxy" / "flow.so").write_bytes(content)
    (directory / "all.so").write_bytes(content)
    (directory / "proxy" / "flow.py").write_text("LIMIT = 1\n")
    return ["all.so", "proxy/flow.so"]


def test_every_compiled_module_exists(setup: ModuleType) -> None:
    assert [name for name in setup.COMPILED if not (TOP / "proxy" / f"{name}.py").is_file()] == []


def test_a_module_in_two_parts_takes_as_long(setup: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("whole.py", "one.py", "other.py")]
    for file, lines in zip(files, (500, 200, 300), strict=True):
        file.write_text("x = 1\n" * lines)
    whole, *parts = map(str, files)
    assert setup.seconds_for([whole]) == pytest.approx(setup.seconds_for(parts))
    assert setup.seconds_for([whole]) == pytest.approx(1.5)


def final_tuples(tree: ast.Module) -> list[str]:
    """Final tuples of fixed length with a float: mypyc (2.1) never sets them."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "Final":
            if not isinstance(node.value, ast.Tuple):
                continue
            values = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
            if any(isinstance(value, float) for value in values):
                found.append(ast.unparse(node.target))
    return found


def test_no_compiled_module_has_a_final_tuple_of_floats(setup: ModuleType) -> None:
    for name in setup.COMPILED:
        text = (TOP / "proxy" / f"{name}.py").read_text(encoding="utf-8")
        assert not final_tuples(ast.parse(text)), name
    assert final_tuples(ast.parse("RATES: Final = (200.0, 20.0)")) == ["RATES"]


def test_the_key_stays_while_nothing_changes(setup: ModuleType, tree: Path) -> None:
    before = setup.key_of(tree, "gcc 12")
    (tree / "README.md").write_text("no source\n")
    (tree / "proxy" / "page.js").write_text("no source\n")
    assert setup.key_of(tree, "gcc 12") == before


@pytest.mark.parametrize("file", ["setup.py", "proxy/errors.py", "proxy/wire/flow.py"])
def test_each_source_is_part_of_the_key(setup: ModuleType, tree: Path, file: str) -> None:
    before = setup.key_of(tree, "gcc 12")
    (tree / file).write_text("LIMIT = 2\n")
    assert setup.key_of(tree, "gcc 12") != before


def test_a_new_name_and_another_compiler_change_the_key(setup: ModuleType, tree: Path) -> None:
    before = setup.key_of(tree, "gcc 12")
    assert setup.key_of(tree, "gcc 13") != before
    (tree / "proxy" / "errors.py").rename(tree / "proxy" / "faults.py")
    assert setup.key_of(tree, "gcc 12") != before


def test_the_environment_names_compiler_and_interpreter(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = setup.build_environment()
    assert setup.build_environment() == before
    monkeypatch.setenv("CFLAGS", "-Og")
    assert setup.build_environment() != before
    monkeypatch.setenv("CFLAGS", "")
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert setup.build_environment() != before


def test_a_build_is_kept_and_copied_back(setup: ModuleType, tmp_path: Path) -> None:
    kept = setup.Kept(tmp_path / "kept", "key")
    assert kept.names() == []
    names = built(tmp_path / "first", b"compiled")
    kept.keep(tmp_path / "first", names)
    assert kept.names() == names
    kept.copy_to(tmp_path / "second")
    assert (tmp_path / "second" / "proxy" / "flow.so").read_bytes() == b"compiled"
    assert not (tmp_path / "second" / "proxy" / "flow.py").exists()


def test_only_the_latest_build_is_kept(setup: ModuleType, tmp_path: Path) -> None:
    names = built(tmp_path / "first", b"compiled")
    setup.Kept(tmp_path / "kept", "old").keep(tmp_path / "first", names)
    (tmp_path / "kept" / "unfinished-1" / "proxy").mkdir(parents=True)
    setup.Kept(tmp_path / "kept", "new").keep(tmp_path / "first", names)
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["new"]


def test_a_build_that_was_cut_off_is_not_used(setup: ModuleType, tmp_path: Path) -> None:
    """A file is missing: nothing appears under the key."""
    kept = setup.Kept(tmp_path / "kept", "key")
    names = built(tmp_path / "first", b"compiled")
    (tmp_path / "first" / "proxy" / "flow.so").unlink()
    kept.keep(tmp_path / "first", names)
    assert kept.names() == []
    assert list((tmp_path / "kept").iterdir()) == []


def test_two_builds_at_once_keep_one(setup: ModuleType, tmp_path: Path) -> None:
    names = built(tmp_path / "first", b"compiled")
    for _ in range(2):
        setup.Kept(tmp_path / "kept", "key").keep(tmp_path / "first", names)
    assert setup.Kept(tmp_path / "kept", "key").names() == names
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["key"]
