"""Ways to damage a file; each is a function of its path, or returns one."""

import shutil

import h5py
import numpy as np


def absent(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(3000))


def folder(path):
    path.unlink()
    path.mkdir()


UNREADABLE = (absent, empty, cut, noise, folder)


def text(content):
    """Write another text."""
    return lambda path: path.write_text(content)


def edited(old, new):
    """Replace one part of a text."""

    def edit(path):
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return edit


def repeated_line(path):
    """Write the last line of a text twice."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]))


def without_column(name):
    """Remove a column of a CSV file."""

    def remove(path):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        place = rows[0].index(name)
        path.write_text("\n".join(",".join(r[:place] + r[place + 1 :]) for r in rows) + "\n")

    return remove


def copied_from(other):
    """Put another file in its place."""
    return lambda path: shutil.copy(other, path)


def attribute(name, value):
    """Set an attribute of an HDF5 file."""

    def change(path):
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value

    return change


def dataset(name, change, **options):
    """Store `change` of the values of an HDF5 data set in its place, or nothing for None."""

    def replace(path):
        with h5py.File(path, "r+") as file:
            values = change(file[name][...])
            del file[name]
            if values is not None:
                file.create_dataset(name, data=values, **options)

    return replace


def planted(place, value):
    """Return a change for `dataset` that puts one value into an array."""

    def plant(values):
        values[place] = value
        return values

    return plant
