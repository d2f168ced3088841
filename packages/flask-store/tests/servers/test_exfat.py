"""A disk without hard links, unnamed files and extended attributes: exFAT."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_store.config import Config
from flask_store.stores.local import LocalStore
from flask_store.testing import ProviderContract


MIB = 1024 * 1024
TOOLS = ("mkfs.exfat", "mount.exfat-fuse", "losetup", "umount")


def run(*command: str) -> str:
    """Run a command to its end."""
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An exFAT disk, where this machine lets tests mount one."""
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        install = "apt-get install exfat-fuse exfatprogs"
        pytest.skip(f"{missing[0]} is missing; {install}")
    image = tmp_path_factory.mktemp("exfat") / "image"
    folder = image.with_name("disk")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    run("mkfs.exfat", str(image))
    try:
        device = run("losetup", "--find", "--show", str(image))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop device may be used here: {error.stderr}")
    try:
        try:
            run("mount.exfat-fuse", device, str(folder))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"nothing may be mounted here: {error.stderr}")
        try:
            yield folder
        finally:
            run("umount", str(folder))
    finally:
        run("losetup", "--detach", device)


@pytest.fixture
def provider(disk: Path) -> LocalStore:
    """A store on the disk."""
    path = str(disk / uuid.uuid4().hex)
    return LocalStore(config=Config(path=path, signing_keys=("key",)))


class TestExFat(ProviderContract):
    """The local store on exFAT keeps every promise."""

    @pytest.fixture
    def provider(self, provider: LocalStore) -> LocalStore:
        """The module's."""
        return provider


def test_check(provider: LocalStore) -> None:
    """The check says how files are kept there."""
    first, left = provider.check()
    assert "unfinished files are named, attributes are kept beside them" in first
    assert left == "0 files of killed processes left"
