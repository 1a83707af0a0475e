"""Names and counts of fields in files: read as they were written, whoever wrote them."""

from pathlib import Path

import pytest

from proxy.noise.fields import MAX_FIELDS, OTHER
from proxy.observer import noise_files
from proxy.observer.noise_files import FieldFile, open_fields, path_of
from proxy.tally import EARLIER


def test_names_are_read_as_they_were_written(tmp_path: Path) -> None:
    """The longest name, the empty one and that of all others are found again, each with its own counts."""
    kept = FieldFile(path_of(tmp_path, "names"))
    names = ["", "/" + "\U0001f377" * 199, OTHER, *(f"/{i}x" for i in range(MAX_FIELDS - 2))]
    kept.counts.add({name: [i, i + 1, i + 2] for i, name in enumerate(names)})
    expected = kept.counts.document()
    kept.close()
    found = FieldFile(path_of(tmp_path, "names"))
    assert found.counts.document() == expected
    found.counts.add({"/one-too-many": [1, 0, 0]})
    assert found.counts.document() == expected | {OTHER: [3, 3, 4]}
    found.close()


def test_a_name_without_its_length_is_none(tmp_path: Path) -> None:
    """A kill between name and length leaves a free row, which the next field takes."""
    path = path_of(tmp_path, "torn")
    kept = FieldFile(path)
    kept.counts.add({"/a": [1, 0, 0], "/torn": [0, 0, 0]})
    kept.close()
    row = noise_files._ROW * 8
    data = bytearray(path.read_bytes())
    data[row + 24 : row + 32] = bytes(8)
    path.write_bytes(data)
    found = FieldFile(path)
    assert found.counts.document() == {"/a": [1, 0, 0]}
    found.counts.add({"/b": [0, 1, 0]})
    found.close()
    again = FieldFile(path)
    assert again.counts.document() == {"/a": [1, 0, 0], "/b": [0, 1, 0]}
    again.close()


def test_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no link can be made, what the program before has counted is copied."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    (after / EARLIER).symlink_to(before)
    kept = FieldFile(path_of(before, "s"))
    kept.counts.add({"/a": [1, 2, 3]})

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("proxy.observer.noise_files.os.link", refuse)
    own, linked = open_fields(after, "s")
    assert linked is None
    assert own.counts.document() == {"/a": [1, 2, 3]}
    own.close()
    kept.close()
