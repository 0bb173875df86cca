"""verify(): recompute an audit.json from its evidence alone, and compare."""

import json
from pathlib import Path

from expunge.audit.evidence.folder import read
from expunge.audit.verdict.document import as_written, declared_part, differences, document
from expunge.errors import BadInput


def verify(folder: Path | str) -> list[str]:
    """Recompute every number of `folder/audit.json` except declared ones from `folder/evidence`.

    The manifest's checksums are checked first. Costs, claims, settings and the facts of the run
    are declared: they are taken as they stand.

    Returns:
        A readable line for each difference; none where the file is true to its evidence.

    Raises:
        BadInput: there is no audit.json or it is not one; evidence that is missing, damaged or
            not what the manifest lists.
    """
    path = Path(folder) / "audit.json"
    try:
        old = json.loads(path.read_text())
        declared = declared_part(old)
        kind = declared["problem"]["kind"]
    except FileNotFoundError:
        raise BadInput(
            f"there is no {path}", expected="a folder that expunge wrote", fix="check the path"
        ) from None
    except BadInput:
        raise
    except (ValueError, KeyError, TypeError) as error:  # ValueError: not JSON, or not text
        raise BadInput(
            f"{path} is not an audit ({error})",
            expected="JSON of schema expunge.audit/1",
            fix="restore it, or run the audit again",
        ) from error
    evidence = read(path.parent / "evidence", kind, verify_manifest=True)
    told, found = declared["problem"], len(evidence.targets["forget_rows"])
    members = len(evidence.original["forget"])
    persons = None if evidence.people is None else len(set(evidence.people))
    counted = (("forget_rows", found), ("members", members), ("persons", persons))
    wrong = [
        f"problem.{name}: file says {told[name]}, evidence gives {seen}"
        for name, seen in counted
        if name in told and told[name] != seen
    ]
    return wrong + differences(old, as_written(old, document(evidence, declared)))
