"""Measures how many rows a second our training loop takes, against torch's own DataLoader feeding the same network."""

import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.utils.data import DataLoader, TensorDataset

from ml_platform.models.network import Batch, find_device, shuffled, train_epoch
from ml_platform.models.tables import EmbeddingModule

ROWS = 200_000  # about what a year's fold of flights has, drawn at random
SIZES = (17, 4, 105, 20, 8)  # codes of carrier, origin, destination, hour, day of the week
NUMBERS = 24  # with the indicators of missing ones
BATCH_SIZES = (1_024, 8_192)
WORKERS = 2
SECONDS_OF_STEPS = 4.0
ROUNDS = 2


def synthetic(device: torch.device) -> Batch:
    """Draws rows of the flights' shape: codes [rows, 5] and numbers [rows, 24]."""
    draw = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(size, (ROWS,), generator=draw) for size in SIZES], dim=1)
    numbers = torch.randn((ROWS, NUMBERS), generator=draw)
    return Batch((codes, numbers), (torch.rand(ROWS, generator=draw) < 0.2).long()).to(device)


def stock(rows: Batch, size: int, device: torch.device, workers: int = 0) -> Iterator[Batch]:
    """Feeds the same rows as the documentation of DataLoader does."""
    loader = DataLoader(TensorDataset(*rows.inputs, rows.target), size, shuffle=True, num_workers=workers)
    for codes, numbers, target in loader:
        yield Batch((codes, numbers), target).to(device)


def until(seconds: float, batches: Iterable[Batch], seen: list[int]) -> Iterator[Batch]:
    """Stops an epoch that takes too long to be waited for; notes the rows that it gave."""
    end = time.perf_counter() + seconds
    for batch in batches:
        seen.append(len(batch))
        yield batch
        if time.perf_counter() > end:
            return


def rows_a_second(device: torch.device, batches: Callable[[], Iterable[Batch]]) -> float:
    """Trains a new network for an epoch, or a few seconds of one; the best of some rounds."""
    speeds = []
    for _ in range(ROUNDS):
        torch.manual_seed(0)
        module = EmbeddingModule(SIZES, NUMBERS, (128, 64), 0.2, 2).to(device)
        optimizer = torch.optim.AdamW(module.parameters(), fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        seen: list[int] = []
        started = time.perf_counter()
        train_epoch(module, torch.nn.functional.cross_entropy, until(SECONDS_OF_STEPS, batches(), seen), optimizer, schedule)  # fmt: skip
        speeds.append(sum(seen) / (time.perf_counter() - started))  # the mean loss was waited for
    return max(speeds)


def main() -> None:
    device = find_device()
    there, here = synthetic(device), synthetic(torch.device("cpu"))
    rows_a_second(
        device, lambda: shuffled(there.take(torch.arange(1_024, device=device)), 512)
    )  # torch's first imports
    print(f"{ROWS:,} synthetic rows of the flights' shape on {device}, {torch.get_num_threads()} threads\n")
    print("| batch size | fed by | rows a second | ratio to the DataLoader |\n|---|---|---|---|")
    for size in BATCH_SIZES:
        speeds = {
            "DataLoader": rows_a_second(device, lambda: stock(here, size, device)),  # noqa: B023  (called at once)
            f"DataLoader, {WORKERS} workers": rows_a_second(device, lambda: stock(here, size, device, WORKERS)),  # noqa: B023
            "our loop": rows_a_second(device, lambda: shuffled(there, size)),  # noqa: B023
        }
        for name, speed in speeds.items():
            print(f"| {size:,} | {name} | {speed:,.0f} | {speed / speeds['DataLoader']:.1f} |")


if __name__ == "__main__":
    main()
