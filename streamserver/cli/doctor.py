"""``streamserver doctor``: says what was found, and answers an exit code."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Final, TextIO

from streamserver.cli.arguments import Options
from streamserver.cli.serve import loop_factory
from streamserver.config import Config
from streamserver.doctor.findings import Finding, Status, exit_code
from streamserver.doctor.visit import visit

__all__ = ["run_doctor"]

_SIGNS: Final = {
    Status.OK: "ok  ", Status.WARNING: "WARN", Status.FAILED: "FAIL", Status.SKIPPED: "--  ",
}  # fmt: skip


def run_doctor(config: Config, options: Options, environ: Mapping[str, str], stdout: TextIO) -> int:
    """Looks and tries; 0 where nothing failed, else what `exit_code` says."""
    # The private server's log is not what was asked for.
    logging.getLogger("streamserver").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        findings = runner.run(_visit(config, options, environ, stdout))
    code = exit_code(findings)
    if options.json:
        answer = {"exit_code": code, "findings": [_as_json(one) for one in findings]}
        stdout.write(json.dumps(answer, indent=2) + "\n")
    return code


async def _visit(
    config: Config, options: Options, environ: Mapping[str, str], stdout: TextIO
) -> list[Finding]:
    findings = []
    async for one in visit(config, environ, running=options.running, key=options.key):
        findings.append(one)
        if not options.json:
            # Each as it comes: the trial takes seconds.
            stdout.write(f"{_SIGNS[one.status]} {one.check:<7} {one.text}\n")
            stdout.flush()
    return findings


def _as_json(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "status": finding.status.value,
        "text": finding.text,
        "figures": dict(finding.figures),
    }
