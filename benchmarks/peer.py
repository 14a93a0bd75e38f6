"""The peer's half of each benchmark: lightly as its own examples use it, in its own environment.

Reads one JSON request a line from stdin, answers one JSON object a line on stdout:
{"open": task, ...arguments} builds a task, {"run": task} times one round of it. It shares the
networks of sslbench (so that both sides train the same one) and nothing else of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clock import Clock, PeakMemory
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from lightly.utils.benchmarking import knn_predict
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from sslbench.models.encoders import build_encoder
from sslbench.recipes.specs import NarrowResNet, ResNet

WORKERS = 2
KINDS = {"ResNet": ResNet, "NarrowResNet": NarrowResNet}


class Pictures(Dataset):
    """Arrays as torchvision's CIFAR10 gives them: a PIL image, then the transform."""

    def __init__(self, path: str, transform: Any, labels: str | None = None) -> None:
        self.images = np.load(path)  # N×H×W×3 uint8
        self.labels = np.load(labels) if labels else np.zeros(len(self.images), np.int64)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def loader(data: Dataset, batch_size: int, *, train: bool = True) -> DataLoader:
    """Two workers that live on between rounds: no round pays for starting them."""
    return DataLoader(data, batch_size=batch_size, shuffle=train, drop_last=train,
                      num_workers=WORKERS, persistent_workers=True)  # fmt: skip


def network(encoder: dict[str, Any], resolution: int) -> nn.Module:
    """The encoder that sslbench trains, from the same spec."""
    spec = KINDS[encoder["kind"]].from_dict(encoder)
    return build_encoder(spec, resolution=resolution)


class Augment:
    """Two SimCLR views of every image, through lightly's transform and PyTorch's DataLoader."""

    def __init__(self, images: str, transform: dict[str, Any], batch_size: int) -> None:
        self.loader = loader(Pictures(images, SimCLRTransform(**transform)), batch_size)

    def run(self) -> dict[str, float]:
        with Clock() as clock:
            views = sum(x0.shape[0] + x1.shape[0] for (x0, x1), _ in self.loader)
        return {**clock.result(), "count": views}


class Step:
    """lightly's SimCLR example: two forwards, NT-Xent, SGD; float32 or under bf16 autocast.

    `steps`: that many steps on one ready batch; None: one pass over the data with its loading.
    """

    def __init__(
        self,
        images: str,
        transform: dict[str, Any],
        batch_size: int,
        encoder: dict[str, Any],
        hidden: int,
        out: int,
        temperature: float,
        optimizer: dict[str, float],
        bf16: bool,
        steps: int | None,
    ) -> None:
        torch.manual_seed(0)
        self.loader = loader(Pictures(images, SimCLRTransform(**transform)), batch_size)
        backbone = network(encoder, transform["input_size"])
        head = SimCLRProjectionHead(backbone.num_features, hidden, out)
        self.model = nn.Sequential(backbone, head)
        self.criterion = NTXentLoss(temperature=temperature)
        self.optimizer = torch.optim.SGD(self.model.parameters(), **optimizer)
        self.bf16 = bf16
        self.steps = steps
        self.batch = next(iter(self.loader))[0] if steps else None

    def step(self, x0: torch.Tensor, x1: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            z0, z1 = self.model(x0), self.model(x1)
            loss = self.criterion(z0, z1)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def run(self) -> dict[str, float]:
        count = 0
        with Clock() as clock:
            if self.batch is not None:
                for _ in range(self.steps or 0):
                    self.step(*self.batch)
                    count += len(self.batch[0])
            else:
                for (x0, x1), _ in self.loader:
                    self.step(x0, x1)
                    count += len(x0)
        return {**clock.result(), "count": count}


class Masked:
    """lightly's parts of MAE, put together as its example has them: AdamW and the mean squared
    error of hidden patches; float32 or under bf16 autocast, on one ready batch."""

    def __init__(
        self,
        images: str,
        encoder: dict[str, int],
        decoder: dict[str, int],
        resolution: int,
        ratio: float,
        optimizer: dict[str, Any],
        steps: int,
        bf16: bool,
    ) -> None:
        from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
        from timm.models.vision_transformer import VisionTransformer

        torch.manual_seed(0)
        pictures = torch.from_numpy(np.load(images)).permute(0, 3, 1, 2)
        self.images = pictures.float().div(255).sub(0.5).div(0.25)
        self.ratio, self.patch, self.steps, self.bf16 = ratio, encoder["patch"], steps, bf16
        vit = VisionTransformer(
            img_size=resolution, patch_size=self.patch, embed_dim=encoder["width"],
            depth=encoder["depth"], num_heads=encoder["heads"], num_classes=0,
        )  # fmt: skip
        self.encoder = MaskedVisionTransformerTIMM(vit=vit)
        self.decoder = MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches, patch_size=self.patch,
            embed_dim=encoder["width"], decoder_embed_dim=decoder["width"],
            decoder_depth=decoder["depth"], decoder_num_heads=decoder["heads"],
        )  # fmt: skip
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        optimizer["betas"] = tuple(optimizer["betas"])
        self.optimizer = torch.optim.AdamW(parameters, **optimizer)

    def loss(self) -> torch.Tensor:
        from lightly.models import utils

        size = (len(self.images), self.encoder.sequence_length)
        keep, hidden = utils.random_token_mask(size=size, mask_ratio=self.ratio, device="cpu")
        embedded = self.decoder.embed(self.encoder.encode(images=self.images, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, size)
        tokens = utils.set_at_index(tokens, keep, embedded.type_as(tokens))
        decoded = self.decoder.decode(tokens)
        predicted = self.decoder.predict(utils.get_at_index(decoded, hidden))
        target = utils.get_at_index(utils.patchify(self.images, self.patch), hidden - 1)
        return F.mse_loss(predicted, target)

    def run(self) -> dict[str, float]:
        with Clock() as clock:
            for _ in range(self.steps):
                with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                    loss = self.loss()
                loss.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
        return {**clock.result(), "count": self.steps * len(self.images)}


class Knn:
    """lightly's `knn_predict` from features as an encoder gives them, in chunks of queries."""

    def __init__(self, folder: str, k: int, temperature: float, chunk: int) -> None:
        read = {n: torch.from_numpy(np.load(f"{folder}/{n}.npy")) for n in
                ("train", "train_labels", "test", "test_labels")}  # fmt: skip
        self.train, self.queries = read["train"], read["test"]
        self.labels, self.truth = read["train_labels"], read["test_labels"]
        self.settings = {"knn_k": k, "knn_t": temperature}
        self.chunk = chunk

    def run(self) -> dict[str, float]:
        classes = int(self.labels.max()) + 1
        with PeakMemory() as memory, Clock() as clock:
            bank = F.normalize(self.train, dim=1).t().contiguous()
            predicted = [
                knn_predict(F.normalize(q, dim=1), bank, self.labels, classes, **self.settings)[
                    :, 0
                ]
                for q in self.queries.split(self.chunk)
            ]
        top1 = 100.0 * (torch.cat(predicted) == self.truth).float().mean().item()
        return {**clock.result(), **memory.result(), "count": len(self.queries), "top1": top1}


class Linear:
    """The linear probe of lightly's benchmarks: every epoch crops, encodes, and takes SGD steps.

    SGD 0.1 * batch / 256, momentum 0.9, no weight decay, cosine over `epochs`; one rate. A round
    is one epoch; the accuracy is on the test images, without augmentation.
    """

    def __init__(
        self,
        folder: str,
        encoder: dict[str, Any],
        weights: str,
        resolution: int,
        mean: list[float],
        std: list[float],
        batch_size: int,
        epochs: int,
    ) -> None:
        final = [T.ToTensor(), T.Normalize(mean, std)]
        crop = [T.RandomResizedCrop(resolution), T.RandomHorizontalFlip()]
        train = Pictures(f"{folder}/train.npy", T.Compose(crop + final),
                         f"{folder}/train_labels.npy")  # fmt: skip
        test = Pictures(f"{folder}/test.npy", T.Compose(final), f"{folder}/test_labels.npy")
        self.train, self.test = loader(train, batch_size), loader(test, batch_size, train=False)
        self.encoder = network(encoder, resolution)
        self.encoder.load_state_dict(torch.load(weights, weights_only=True))
        self.encoder.eval()
        self.head = nn.Linear(self.encoder.num_features, int(train.labels.max()) + 1)
        self.optimizer = torch.optim.SGD(
            self.head.parameters(), lr=0.1 * batch_size / 256, momentum=0.9
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.encoder(images)
        return self.head(features)

    def run(self) -> dict[str, float]:
        with Clock() as clock:
            for images, labels in self.train:
                self.optimizer.zero_grad()
                F.cross_entropy(self.logits(images), labels).backward()
                self.optimizer.step()
            self.schedule.step()
        return {**clock.result(), "count": len(self.train.dataset), "top1": self.accuracy()}

    @torch.no_grad()
    def accuracy(self) -> float:
        hits = sum((self.logits(x).argmax(1) == y).sum().item() for x, y in self.test)
        return 100.0 * hits / len(self.test.dataset)


TASKS = {"augment": Augment, "step": Step, "masked": Masked, "knn": Knn, "linear": Linear}


def versions() -> dict[str, str]:
    """What the peer's numbers are of."""
    import lightly
    import torchvision

    return {"lightly": lightly.__version__, "torch": torch.__version__,
            "torchvision": torchvision.__version__}  # fmt: skip


def answer(request: dict[str, Any], tasks: dict[str, Any]) -> dict[str, Any]:
    """Serve one request; the open tasks are kept by the name they were given."""
    if "open" in request:
        name = request.pop("name")
        tasks[name] = TASKS[request.pop("open")](**request)
        return {}
    if "run" in request:
        return tasks[request["run"]].run()
    if "close" in request:
        del tasks[request["close"]]
        return {}
    return versions()


def main() -> None:
    """Serve until stdin closes; whatever libraries print goes to stderr."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tasks: dict[str, Any] = {}
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line), tasks)), file=out, flush=True)


if __name__ == "__main__":
    main()
