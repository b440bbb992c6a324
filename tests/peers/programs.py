"""The real programs that peer tests need, which Debian package brings each, and which are absent.

``python -m tests.peers.programs --install`` installs what is missing, as root on Debian, and
prints the table.
"""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """One peer."""

    name: str
    """What the table calls it."""

    packages: tuple[str, ...]
    """Debian packages that bring it."""

    command: str = ""
    """The command that must be on the path; empty: ask the package manager."""


GSTREAMER = tuple(
    f"gstreamer1.0-{part}"
    for part in ("tools", "plugins-base", "plugins-good", "plugins-bad", "plugins-ugly", "libav")
)

PROGRAMS = (
    Program("ffmpeg", ("ffmpeg",), "ffmpeg"),
    Program("GStreamer", GSTREAMER, "gst-launch-1.0"),
    Program("OBS Studio", ("obs-studio", "xvfb", "xauth", "libgl1-mesa-dri"), "obs"),
    Program("Chromium", ("chromium",), "chromium"),
    Program("nginx", ("nginx", "libnginx-mod-rtmp"), "nginx"),
    Program("Caddy", ("caddy",), "caddy"),
    Program("coturn", ("coturn",), "turnserver"),
    Program("mpv", ("mpv",), "mpv"),
    Program("rtmpdump", ("rtmpdump",), "rtmpdump"),
    Program("nftables", ("nftables", "iproute2"), "nft"),
    Program("VLC", ("vlc-bin", "vlc-plugin-base"), "cvlc"),
)


def present(program: Program) -> bool:
    """Whether the command is there."""
    return shutil.which(program.command) is not None


def install(programs: list[Program]) -> None:
    """Installs Debian packages without asking; a failure shows in the table, not here."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-y", "--no-install-recommends"]
    subprocess.run(["apt-get", "-qq", "update"], check=False, env=environment)
    for program in programs:
        print(f"installing {program.name} ...", flush=True)
        done = subprocess.run(
            [*apt, "install", *program.packages], check=False, env=environment, capture_output=True
        )
        if done.returncode:
            print(done.stderr.decode(errors="replace")[-500:], file=sys.stderr)


def main() -> None:
    """Installs when told and allowed, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true")
    missing = [program for program in PROGRAMS if not present(program)]
    if parser.parse_args().install and missing:
        if os.geteuid() == 0 and shutil.which("apt-get"):
            install(missing)
        else:
            print("not root, or no apt-get: peers are not installed")
    print(f"{'peer':<12} {'':<8} Debian packages")
    for program in PROGRAMS:
        state = "present" if present(program) else "ABSENT"
        print(f"{program.name:<12} {state:<8} {' '.join(program.packages)}")


if __name__ == "__main__":
    main()
