"""Attacks by an engine: a batch of images at one epsilon each, put together in order.

Parts wait in ``.attack-KEY`` below the output, whose name holds all that decides them, so the same
command finds what one that was killed has made. They go when the images of their epsilon are
written.
"""

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from entangle_cli.activations.durable import make_folder, write_atomic, writing
from entangle_cli.attacks.methods import Plan
from entangle_cli.attacks.parts import Attacker
from entangle_cli.attacks.sign import Attacked
from entangle_cli.datasets.dataset import Origin
from entangle_cli.datasets.fingerprint import file_digest
from entangle_cli.engines.interface import Unit
from entangle_cli.errors import StoreError, UsageError
from entangle_cli.runs.spread.latest import Latest
from entangle_cli.runs.spread.tasks import ModelFile, open_origin

if TYPE_CHECKING:
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.shared.run_options import RunOptions

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Subject:
    """The network whose gradients are taken, the images, and where they are to go.

    ``sha256`` and ``fingerprint`` are what the command found in the model file and the data set.
    """

    model: ModelFile
    sha256: str
    data: Origin
    fingerprint: str
    preprocessing: str
    target: int | None
    seed: int


@dataclass(frozen=True)
class AttackTask:
    """The images ``rows`` attacked as ``plan`` says, into a file in ``folder``."""

    subject: Subject
    plan: Plan
    rows: tuple[int, int]
    folder: str


def attack_rows(task: AttackTask) -> str:
    """Attack a part; returns the path of what was made.

    The name is new each time: a worker that is thought dead may still be writing.
    """
    start, stop = task.rows
    packed = _packed(_attacker(task.subject).attack(slice(start, stop), task.plan))
    path = Path(task.folder) / f"rows-{start}-{stop}.{secrets.token_hex(4)}.part"
    with writing(path, len(packed)):
        write_atomic(path, packed)
    return str(path)


class SpreadAttack:
    """Attacks by the workers of ``run.engine``, as ``attacker`` does them here.

    ``source`` is the model file of its network.

    Raises:
        UsageError: the data set cannot be opened by workers.
    """

    def __init__(
        self, attacker: Attacker, source: Path, run: "RunOptions", terminal: "Terminal"
    ) -> None:
        dataset = attacker.dataset
        if dataset.origin is None:
            raise UsageError(f"{dataset.name}: cannot be opened by workers; leave out --engine")
        self._attacker, self._run, self._terminal = attacker, run, terminal
        # the cluster chooses which GPU
        device = run.device.partition(":")[0]
        self._subject = Subject(
            model=ModelFile(str(source), device, run.trust),
            sha256=file_digest(source),
            data=dataset.origin,
            fingerprint=dataset.fingerprint,
            preprocessing=json.dumps(attacker.feed.preprocessing.to_json()),
            target=attacker.target,
            seed=attacker.seed,
        )
        self._name = f"{source.name} on {dataset.name}"

    @contextlib.contextmanager
    def attacked(self, plan: Plan, parts: Sequence[slice]) -> Iterator[list[Attacked]]:
        """The changed images of these parts; what waits for them goes if nothing is raised.

        Raises:
            EntangleError: a part could not be made; the others are kept.
        """
        folder = self._folder(plan, parts)
        make_folder(folder)
        ranges = [(part.start, part.stop) for part in parts]
        found = {rows: self._waiting(folder, rows) for rows in ranges}
        units = [self._unit(plan, rows, folder) for rows in ranges if found[rows] is None]
        total, left = ranges[-1][1], sum(unit.size for unit in units)
        failure = None
        self._terminal.start(plan.words, total)
        self._terminal.advance(total - left)
        try:
            for outcome in self._run.engine.run(attack_rows, units, self._terminal):
                failure = failure or outcome.error
                if failure is None:
                    found[outcome.unit.task.rows] = self._made(Path(outcome.value))
        finally:
            self._terminal.finish()
        if failure is not None:
            raise failure
        yield [found[rows] for rows in ranges]
        shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, plan: Plan, parts: Sequence[slice]) -> Path:
        """Named by all that decides the content, but not by paths."""
        subject = self._subject
        decides = [
            subject.sha256,
            subject.fingerprint,
            subject.preprocessing,
            asdict(plan),
            subject.target,
            subject.seed,
            parts[0].stop,
            subject.model.device,
            metadata.version("torch"),
        ]
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:20]
        return self._run.output / f".attack-{key}"

    def _unit(self, plan: Plan, rows: tuple[int, int], folder: Path) -> Unit:
        name = f"{self._name}, {plan.words}, images {rows[0]} to {rows[1]}"
        return Unit(name, AttackTask(self._subject, plan, rows, str(folder)), rows[1] - rows[0])

    def _waiting(self, folder: Path, rows: tuple[int, int]) -> Attacked | None:
        """What an earlier run has made of a part, None where there is nothing whole."""
        paths = sorted(folder.glob(f"rows-{rows[0]}-{rows[1]}.*.part"))
        found = (_unpacked(path, self._attacker.device) for path in paths)
        return next((part for part in found if part is not None), None)

    def _made(self, path: Path) -> Attacked:
        found = _unpacked(path, self._attacker.device)
        if found is None:
            raise StoreError(
                f"{path}: a worker wrote it and it is not here; workers need the folders of the "
                "command, on a shared file system"
            )
        return found


def _open_attacker(subject: Subject) -> Attacker:
    from entangle_cli.attacks.pixels import PixelFeed
    from entangle_cli.datasets.preprocessing import Preprocessing
    from entangle_cli.models.differentiable import open_differentiable

    model, dataset = subject.model, open_origin(subject.data)
    for what, here, there in (
        (model.path, file_digest(Path(model.path)), subject.sha256),
        (dataset.name, dataset.fingerprint, subject.fingerprint),
    ):
        if here != there:
            raise StoreError(
                f"{what}: not as where the attack was begun; every worker needs the same files"
            )
    return Attacker(
        network=open_differentiable(model.path, device=model.device, trust=model.trust),
        feed=PixelFeed(Preprocessing.from_json(json.loads(subject.preprocessing))),
        dataset=dataset,
        target=subject.target,
        seed=subject.seed,
        device=model.device,
    )


_attacker = Latest(_open_attacker)


def _packed(found: Attacked) -> bytes:
    """A checksum of the rest, a line with the shape and the two counts, and the pixels."""
    pixels = found.inputs.cpu().numpy()
    head = json.dumps([pixels.shape, found.by_margin, found.without])
    content = head.encode() + b"\n" + pixels.astype(np.float32, copy=False).tobytes()
    return hashlib.sha256(content).digest() + content


def _unpacked(path: Path, device: str) -> Attacked | None:
    """What `_packed` made, None where the file is missing or damaged."""
    try:
        packed = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(memoryview(packed)[_DIGEST_BYTES:]).digest() != packed[:_DIGEST_BYTES]:
        return None
    pixels_at = packed.index(b"\n", _DIGEST_BYTES) + 1
    shape, by_margin, without = json.loads(packed[_DIGEST_BYTES:pixels_at])
    pixels = np.frombuffer(packed, np.float32, offset=pixels_at).reshape(shape).copy()
    return Attacked(torch.from_numpy(pixels).to(device), by_margin, without)
