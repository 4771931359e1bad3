import os

import pytest

from proxy.file_watch import FileWatch


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tls.crt"
    path.write_text("one")
    return path


def test_a_change_is_told_once(file):
    watch = FileWatch([str(file)])
    assert not watch.changed()
    file.write_text("another")
    assert watch.changed()
    assert not watch.changed()


def test_the_same_size_written_again(file):
    watch = FileWatch([str(file)])
    before = file.stat().st_mtime_ns
    file.write_text("two")
    os.utime(file, ns=(before + 1, before + 1))
    assert watch.changed()


def test_another_file_under_the_same_name(file, tmp_path):
    fresh = tmp_path / "fresh"
    fresh.write_text("two")
    stat = file.stat()
    os.utime(fresh, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    watch = FileWatch([str(file)])
    fresh.replace(file)
    assert watch.changed()


def test_a_link_that_is_swapped_above_it(tmp_path):
    """As Kubernetes replaces the files of a Secret: all at once."""
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "tls.crt").write_text("same")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "tls.crt").symlink_to("..data/tls.crt")
    watch = FileWatch([str(tmp_path / "tls.crt")])
    (tmp_path / "..data_tmp").symlink_to("2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert watch.changed()


def test_a_file_that_goes_and_comes(file):
    watch = FileWatch([str(file), None])
    file.unlink()
    assert watch.changed()
    assert not watch.changed()
    file.write_text("one")
    assert watch.changed()
