#!/usr/bin/env python3
"""PyTorch's side of `cargo xtask bench`: one process a row.

    pytorch.py REQUEST

REQUEST is JSON: the kind of row, the number of threads and the row's sizes. After setting up
and warming up, the script prints a line `{"ready": NOTE}`, and then, for each line that it reads,
a line `{"value": NUMBER}` in the unit of the row. The networks, the head and the loops are those
of fixtures/parity/generate.py, which is compared with the published code.
"""

import json
import math
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
MEAN, STD = [0.507, 0.487, 0.441], [0.267, 0.257, 0.276]
CLASSES = 64


def generate():
    """Imports the restated networks. Late, because some rows need none."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(ROOT / "fixtures/parity"))
    import generate

    return generate


def seconds(work, times=1):
    start = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - start


class Model:
    """A backbone with the neg-cosine head, and one batch of random images."""

    def __init__(self, request, channels_last):
        import torch

        published = generate()
        torch.manual_seed(0)
        name, size, batch = request["backbone"], request["size"], request["batch"]
        network, features, _ = published.BACKBONES[name]
        features = 64 * (size // 16) ** 2 if name == "conv4" else features
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network().to(memory_format=layout)
        self.head = published.Head("cosineface", features, CLASSES, 30.0, -0.02)
        bound = 1 / math.sqrt(features)
        torch.nn.init.uniform_(self.head.weight, -bound, bound)
        parameters = [*self.network.parameters(), *self.head.parameters()]
        self.adam = torch.optim.Adam(parameters, 1e-3, weight_decay=5e-4)
        self.layout = layout
        self.images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
        self.labels = torch.arange(batch) % CLASSES

    def train(self, images=None, labels=None):
        import torch.nn.functional as F

        images = self.images if images is None else images.contiguous(memory_format=self.layout)
        labels = self.labels if labels is None else labels
        loss = F.cross_entropy(self.head(self.network(images), labels), labels)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.item()

    def features(self):
        import torch

        with torch.inference_mode():
            return self.network(self.images).flatten().numpy()


class BetterFormat:
    """The better of the default format and channels-last, found by a warm-up of both."""

    def __init__(self, request, work):
        tried = []
        for channels_last in (False, True):
            model = Model(request, channels_last)
            if work == "features":
                model.network.eval()
            step = getattr(model, work)
            step()
            tried.append((seconds(step, 2), channels_last, model, step))
        _, channels_last, self.model, self.step = min(tried, key=lambda t: t[0])
        self.note = "channels-last" if channels_last else "default format"
        self.batch, self.steps = request["batch"], request["steps"]

    def measure(self):
        return self.batch * self.steps / seconds(self.step, self.steps)


def train(request):
    return BetterFormat(request, "train")


def features(request):
    return BetterFormat(request, "features")


class Gpu:
    """Training steps on a GPU: channels-last, autocast for bfloat16, fused Adam, the fastest
    convolutions that cuDNN finds; `compiled` by torch.compile."""

    def __init__(self, request):
        import torch

        self.torch, self.is_bfloat16 = torch, request["precision"] == "bf16"
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        self.model = Model(request, channels_last=True)
        model = self.model
        model.network.cuda()
        model.head.cuda()
        parameters = [*model.network.parameters(), *model.head.parameters()]
        self.adam = torch.optim.Adam(parameters, 1e-3, weight_decay=5e-4, fused=True)
        self.images, self.labels = model.images.cuda(), model.labels.cuda()
        self.loss = torch.compile(self.forward) if request["compiled"] else self.forward
        self.batch, self.steps = request["batch"], request["steps"]
        self.note = "compiled" if request["compiled"] else "eager"
        self.note += f", {request['precision']}, {torch.cuda.get_device_name()}"
        for _ in range(5):
            self.step()
        torch.cuda.synchronize()

    def forward(self):
        torch = self.torch
        with torch.autocast("cuda", torch.bfloat16, enabled=self.is_bfloat16):
            scores = self.model.head(self.model.network(self.images), self.labels)
            return torch.nn.functional.cross_entropy(scores, self.labels)

    def step(self):
        loss = self.loss()
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()
        return loss

    def work(self):
        for _ in range(1, self.steps):
            self.step()
        self.step().item()

    def measure(self):
        return self.batch * self.steps / seconds(self.work)


class GpuProduct:
    """A product of square matrices on a GPU."""

    def __init__(self, request):
        import torch

        self.torch, self.side = torch, request["side"]
        torch.backends.cuda.matmul.allow_tf32 = True
        dtype = torch.bfloat16 if request["precision"] == "bf16" else torch.float32
        self.a, self.b = (torch.randn(self.side, self.side, device="cuda", dtype=dtype) for _ in "ab")
        self.note = torch.cuda.get_device_name()
        self.work()

    def work(self):
        for _ in range(10):
            self.a @ self.b
        self.torch.cuda.synchronize()

    def measure(self):
        return 10 * 2 * self.side**3 / seconds(self.work) / 1e12


class Episodes:
    """The published fine-tuning, or logistic regression by scikit-learn, one episode after the other."""

    def __init__(self, request):
        import torch

        self.published, self.torch, self.request = generate(), torch, request
        torch.manual_seed(0)
        self.note = f"over {request['episodes']} episodes"
        self.episode()

    def episode(self):
        torch, request = self.torch, self.request
        F = torch.nn.functional
        way, shot, query, dim = (request[name] for name in ("way", "shot", "query", "dim"))
        device = dict(device=request["device"])
        center, noise = torch.rand(way, 1, dim, **device), torch.rand(way, shot + query, dim, **device)
        feature = F.relu(center * 2 + noise * 3 - 1.5)
        support, labels = feature[:, :shot].reshape(-1, dim), torch.arange(way, **device).repeat_interleave(shot)
        if request["head"] == "logistic":
            return self.logistic(F.normalize(support), labels, F.normalize(feature[:, shot:].reshape(-1, dim)))
        head = self.published.Head("cosineface", dim, way, 5.0, 0.0).to(request["device"])
        torch.nn.init.uniform_(head.weight, -1 / math.sqrt(dim), 1 / math.sqrt(dim))
        sgd = torch.optim.SGD(head.parameters(), 0.01, 0.9, 0.9, 1e-3)
        for _ in range(100):
            for chunk in torch.randperm(way * shot).split(4):
                loss = F.cross_entropy(head(support[chunk], labels[chunk]), labels[chunk])
                sgd.zero_grad()
                loss.backward()
                sgd.step()
        with torch.no_grad():
            scores = head(feature[:, shot:].reshape(-1, dim))
        return (scores.argmax(1) == torch.arange(way, **device).repeat_interleave(query)).double().mean().item()

    def logistic(self, support, labels, queries):
        from sklearn.linear_model import LogisticRegression

        fitted = LogisticRegression(max_iter=1000).fit(support.numpy(), labels.numpy())
        way, query = self.request["way"], self.request["query"]
        return (fitted.predict(queries.numpy()).reshape(way, query) == fitted.classes_[:, None]).mean()

    def measure(self):
        count = self.request["episodes"]
        return count / seconds(self.episode, count)


def training_images(request, workers, shuffle):
    """The published loader over `folder/CLASS/IMAGE`."""
    import torch
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(request["size"]),
            transforms.ColorJitter(0.4, 0.4, 0.4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    # Its own loader is PIL.Image.open(...).convert("RGB").
    images = datasets.ImageFolder(request["folder"], transform)
    keep = {"persistent_workers": True} if workers else {}
    return torch.utils.data.DataLoader(images, request["batch"], shuffle, num_workers=workers, **keep)


class Loader:
    """Decoding and the training transform on this thread."""

    note = "PIL and torchvision"

    def __init__(self, request):
        self.loader = training_images(request, workers=0, shuffle=True)
        self.epoch()

    def epoch(self):
        for _ in self.loader:
            pass

    def measure(self):
        return len(self.loader.dataset) / seconds(self.epoch)


class Memory:
    """The peak of a separate process, in the memory format that needs less."""

    def __init__(self, request):
        self.request = request
        tried = [(self.peak(last), last) for last in (False, True)]
        self.channels_last = min(tried)[1]
        self.note = "channels-last" if self.channels_last else "default format"

    def peak(self, channels_last):
        child = self.request | {"kind": "memory-child", "channels_last": channels_last}
        command = [sys.executable, __file__, json.dumps(child)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def measure(self):
        return self.peak(self.channels_last)


def memory_child(request):
    model = Model(request, request["channels_last"])
    for _ in range(request["steps"]):
        model.train()
    # Read as ours is: ru_maxrss would also count the process before exec.
    status = pathlib.Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6)


class Run:
    """Whole epochs: loading in processes, transforms and training."""

    def __init__(self, request):
        self.request = request
        self.loader = training_images(request, workers=request["threads"], shuffle=True)
        better = BetterFormat(request | {"steps": 1}, "train")
        self.model, self.note = better.model, better.note

    def measure(self):
        def epochs():
            for _ in range(self.request["epochs"]):
                for images, labels in self.loader:
                    self.model.train(images, labels)

        return seconds(epochs) / self.request["epochs"]


class Repeated:
    """GFLOP/s of work, repeated for at least 0.2 s."""

    def measure(self):
        times, spent = 0, 0.0
        while spent < 0.2:
            spent += seconds(self.work)
            times += 1
        return self.operations * times / spent / 1e9


class Product(Repeated):
    note = "a product of two square matrices"

    def __init__(self, request):
        import torch

        side = request["side"]
        a = torch.randn(side, side)
        self.work, self.operations = lambda: a @ a, 2 * side**3


class Convolution(Repeated):
    """One pass of a convolution, in the better memory format."""

    def __init__(self, request):
        import torch

        patch, stride = request["kernel"][1:], request["stride"]
        flags = [request["pass"] == name for name in ("gradient of the input", "gradient of the kernel")]
        padding = [patch[-1] // 2] * 2
        tried = []
        for layout in (torch.contiguous_format, torch.channels_last):
            x, kernel = (torch.randn(request[name]).contiguous(memory_format=layout) for name in ("x", "kernel"))
            y = torch.nn.functional.conv2d(x, kernel, None, stride, padding)
            self.operations = 2 * y.numel() * math.prod(patch)

            def work(x=x, kernel=kernel, y=y):
                with torch.no_grad():
                    if not any(flags):
                        return torch.nn.functional.conv2d(x, kernel, None, stride, padding)
                    arguments = [stride] * 2, padding, [1, 1], False, [0, 0], 1, [*flags, False]
                    return torch.ops.aten.convolution_backward(y, x, kernel, None, *arguments)

            work()
            tried.append((seconds(work, 3), layout is torch.channels_last, work))
        _, last, self.work = min(tried, key=lambda t: t[:2])
        self.note = "channels-last" if last else "default format"


KINDS = {"product": Product, "convolution": Convolution, "train": train, "features": features, "gpu": Gpu,
    "gpu-product": GpuProduct, "episodes": Episodes, "loader": Loader, "memory": Memory, "run": Run}


def main():
    request = json.loads(sys.argv[1])
    if request["kind"] != "memory":
        import torch

        torch.set_num_threads(request["threads"])
    if request["kind"] == "memory-child":
        return memory_child(request)
    row = KINDS[request["kind"]](request)
    print(json.dumps({"ready": row.note}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"value": row.measure()}), flush=True)


if __name__ == "__main__":
    main()
