"""The reference's sparse autoencoder in PyTorch, with its known defects, and what its features are worth.

    python autoencoder_peer.py VECTORS.parquet [--train-share 0.8] [--group prompt] [--seeds 0 1 2]
                            [--attributes NAME_attributes.parquet] [--json OUT.json]
    python autoencoder_peer.py --time 100000 384 [--json OUT.json]       CPU seconds per epoch alone
    python autoencoder_peer.py --time 100000 384 --card cuda             wall seconds on a graphics card

Written from the project's description of the method, not from the reference's source, as the peer to
compare with: a signed BatchTopK autoencoder with Matryoshka prefixes over embedding differences.
The input has `prompt, response_A, response_B, label, vec_a, vec_b` (see embed_minilm.py).

Kept as the reference has them, although they are defects:
- the threshold's running mean starts at 0 and is not corrected for that (too many active features);
- the auxiliary top-k takes signed values, so that a dead feature with a negative value loses its place
  to live ones, whose masked value is 0;
- the auxiliary term is a constant when nothing is dead;
- an evaluation batch counts as firing history;
- the bias starts at torch's lower median, which is not 0 on symmetric data;
- each row passes through a DataLoader (--loader slices takes whole batches instead: other batches for
  the same seed, the same model otherwise, and little faster).

The table gives mean and deviation over the seeds, on one split. NMSE is over all held-out pairs at once.
Classifiers are L2 logistic regressions (C = 1) on standardised features and the word-count difference;
the embedding probe takes the raw difference alone. Take CPU seconds with one thread (OMP_NUM_THREADS=1):
with more, threads that wait for a busy core spin, and the figure grows tenfold.
"""

import argparse
import json
import pathlib
import time

import peers

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

WIDTH, ACTIVE, PREFIXES = 32, 4, (8, 32)
BATCH, EPOCHS, MIN_EPOCHS, PATIENCE, BETTER = 256, 50, 10, 3, 1e-6
RATE, CLIP, AUX_WEIGHT, DEAD_AFTER, THRESHOLD_RATE = 5e-4, 1.0, 1 / 32, 64, 0.01

HH = {  # REFERENCE.md, section 1
    "auc_length": 0.586, "auc_embedding": 0.677, "auc_all": 0.658, "auc_top5": 0.648, "auc_top10": 0.658, "auc_pca32": 0.682,
    "nmse": 0.822, "nmse_prefix8": 0.917, "nmse_pca32": 0.666, "active": 5.85, "none_active": 0.060,
    "support_differs": 0.083, "epochs": 25, "stability": 0.379,
}
PLANTED = {
    "auc_length": 0.551, "auc_embedding": 0.7345, "auc_all": 0.661, "auc_top5": 0.654, "auc_top10": 0.659, "auc_pca32": 0.700,
    "nmse": 0.528, "nmse_prefix8": 0.695, "nmse_pca32": 0.376, "active": 3.96, "none_active": 0.016,
    "support_differs": 0.096, "epochs": 30, "auc_attributes": 0.779,
}


def nmse(x, guess):
    """Squared error relative to that of the mean row of this batch."""
    return ((guess - x) ** 2).mean() / ((x.mean(0) - x) ** 2).mean()


class Sae(torch.nn.Module):
    def __init__(self, train, width=WIDTH, active=ACTIVE, prefixes=PREFIXES):
        super().__init__()
        dimensions = train.shape[1]
        decoder = torch.nn.functional.normalize(torch.randn(dimensions, width), dim=0)
        self.decoder = torch.nn.Parameter(decoder)
        self.encoder = torch.nn.Parameter(decoder.T.clone())
        self.bias_in = torch.nn.Parameter(train.median(0).values)
        self.bias_latent = torch.nn.Parameter(torch.zeros(width))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("idle", torch.zeros(width, dtype=torch.long))
        self.active, self.prefixes = active, prefixes

    def encode(self, x):
        return (x - self.bias_in) @ self.encoder.T + self.bias_latent

    def decode(self, z, prefix=None):
        return z[:, :prefix] @ self.decoder[:, :prefix].T + self.bias_in

    def activations(self, x):
        """What the features say at inference."""
        pre = self.encode(x)
        return torch.where(pre.abs() > self.threshold, pre, 0)

    def forward(self, x):
        """The loss of one batch; bookkeeping on the way."""
        pre = self.encode(x)
        if self.training:
            size = pre.abs().detach()
            kept = torch.topk(size.flatten(), min(self.active * len(x), size.numel())).indices
            mask = torch.zeros(size.numel(), dtype=torch.bool, device=pre.device)
            mask[kept] = True
            z = torch.where(mask.view_as(pre), pre, 0)
            smallest = size.flatten()[kept].min()
            self.threshold.mul_(1 - THRESHOLD_RATE).add_(THRESHOLD_RATE * smallest)
        else:
            z = torch.where(pre.abs() > self.threshold, pre, 0)
        fired = (z != 0).any(0)
        # In place, so that a recorded graph goes on from its own result.
        self.idle.copy_(torch.where(fired, 0, self.idle + 1))

        full = self.decode(z)
        loss = sum(nmse(x, full if prefix == z.shape[1] else self.decode(z, prefix)) for prefix in self.prefixes)
        loss = loss / len(self.prefixes)

        masked = torch.where(self.idle > DEAD_AFTER, pre, 0)
        values, places = torch.topk(masked, min(2 * self.active, pre.shape[1]), dim=1)
        revived = torch.zeros_like(pre).scatter(1, places, values)
        return loss + AUX_WEIGHT * nmse((x - full).detach(), revived @ self.decoder.T)

    @torch.no_grad()
    def project_gradient(self):
        gradient = self.decoder.grad
        gradient -= (gradient * self.decoder).sum(0) * self.decoder

    @torch.no_grad()
    def normalise(self):
        self.decoder /= self.decoder.norm(dim=0)


def batches(rows, shuffle, loader):
    if loader == "dataloader":
        return (batch for (batch,) in DataLoader(TensorDataset(rows), batch_size=BATCH, shuffle=shuffle))
    order = torch.randperm(len(rows)) if shuffle else torch.arange(len(rows))
    return (rows[chunk] for chunk in order.split(BATCH))


def fit(train, held_out, seed, loader="dataloader"):
    """The model with the best held-out loss, the epochs it took, and (CPU, wall) seconds of each."""
    torch.manual_seed(seed)
    model = Sae(train)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    best, best_state, waited, cost = np.inf, None, 0, []
    for epoch in range(EPOCHS):
        cpu, wall = time.process_time(), time.perf_counter()
        model.train()
        for batch in batches(train, True, loader):
            optimiser.zero_grad()
            model(batch).backward()
            model.project_gradient()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            model.normalise()
        model.eval()
        with torch.no_grad():
            loss = np.mean([model(batch).item() for batch in batches(held_out, False, loader)])
        cost.append((time.process_time() - cpu, time.perf_counter() - wall))
        if loss < best - BETTER:
            best, waited = loss, 0
            best_state = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            waited += 1
        if waited >= PATIENCE and epoch + 1 >= MIN_EPOCHS:
            break
    model.load_state_dict(best_state)
    return model.eval(), len(cost), np.median(cost, axis=0)


class Data:
    def __init__(self, path, group, train_share, split_seed):
        table = peers.read(path)
        self.deltas = torch.from_numpy(peers.vectors(table, "vec_a") - peers.vectors(table, "vec_b"))
        self.label = table["label"].to_numpy().astype(float)
        length = peers.words(table["response_A"].to_pylist()) - peers.words(table["response_B"].to_pylist())
        side = peers.split(table, group, train_share, split_seed)
        self.rows = table.num_rows
        self.train = peers.first_of_each(table, np.flatnonzero(side))
        self.test = np.flatnonzero(~side)
        decided = np.isin(self.label, [0, 1])
        self.fit_rows, self.test_rows = self.train[decided[self.train]], self.test[decided[self.test]]
        self.scale_rows = np.zeros(self.rows, bool)
        self.scale_rows[self.fit_rows] = True
        self.length = peers.standardised(length, self.scale_rows)

    def auc(self, columns):
        return peers.held_out_auc(columns, self.label, self.fit_rows, self.test_rows)

    def with_length(self, columns):
        return np.column_stack([peers.standardised(columns, self.scale_rows), self.length])


def correlation(a, b):
    """Absolute correlation of every column of a with every column of b; 0 where one is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.outer(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0))
    return np.abs(a.T @ b) / np.where(size > 0, size, np.inf)


def attribute_columns(path, rows):
    """Name -> difference A - B of a planted attribute, from columns NAME_a and NAME_b (any case)."""
    table = peers.read(path)
    assert table.num_rows == rows
    names = {name.lower(): name for name in table.column_names}
    found = {}
    for low, name in names.items():
        if low.endswith("_a") and low[:-2] + "_b" in names:
            a, b = (table[names[low[:-2] + end]].to_numpy().astype(float) for end in ["_a", "_b"])
            found[low[:-2]] = a - b
    assert found, f"no NAME_a / NAME_b columns in {table.column_names}"
    return found


def without_sae(data, attributes):
    """Figures that need no autoencoder."""
    deltas = data.deltas.numpy()
    pca = PCA(WIDTH, svd_solver="covariance_eigh").fit(deltas[data.train])
    components = pca.transform(deltas)
    guess = pca.inverse_transform(components[data.test])
    out = {
        "auc_length": data.auc(data.length), "auc_embedding": data.auc(deltas),
        "auc_pca32": data.auc(data.with_length(components)),
        "nmse_pca32": float(nmse(data.deltas[data.test], torch.from_numpy(guess))),
    }
    if attributes:
        out["auc_attributes"] = data.auc(np.column_stack(list(attributes.values())))
        decode = lambda value: Ridge(1.0).fit(deltas[data.train], value[data.train]).predict(deltas[data.test])
        out["decodable"] = {name: float(np.corrcoef(decode(v), v[data.test])[0, 1]) for name, v in attributes.items()}
    return out


def judge(model, data, attributes):
    """Figures of one autoencoder."""
    with torch.no_grad():
        z = model.activations(data.deltas)
        mirrored = model.activations(-data.deltas)
        test = data.deltas[data.test]
        full, short = model.decode(z[data.test]), model.decode(z[data.test], 8)
        support = ((z != 0) != (mirrored != 0)).any(1)[data.test]
    active = (z[data.test] != 0).sum(1).float()
    z = z.numpy()
    lasso = peers.Lasso(peers.standardised(z, data.scale_rows)[data.fit_rows], data.length[data.fit_rows, 0], data.label[data.fit_rows])
    out = {
        "nmse": float(nmse(test, full)), "nmse_prefix8": float(nmse(test, short)),
        "active": float(active.mean()), "none_active": float((active == 0).float().mean()),
        "support_differs": float(support.float().mean()), "threshold": float(model.threshold),
        "never_active": int((z[data.test] == 0).all(0).sum()), "auc_all": data.auc(data.with_length(z)),
    }
    for count in [5, 10]:
        chosen = lasso.choose(count)
        out[f"auc_top{count}"] = data.auc(data.with_length(z[:, chosen]))
        out[f"chosen_top{count}"] = len(chosen)
    if attributes:
        best = correlation(np.column_stack(list(attributes.values()))[data.test], z[data.test]).max(1)
        out["attributes"] = dict(zip(attributes, best.tolist()))
    return out


def stability(models):
    """Mean over features of the best absolute cosine with a feature of another seed."""
    with torch.no_grad():
        pairs = [(a.decoder.T @ b.decoder).abs() for a in models for b in models if a is not b]
    return float(torch.stack([pair.max(1).values.mean() for pair in pairs]).mean()) if pairs else None


def made_up(pairs, dimensions):
    """Rows and their mirror images."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(pairs, 48, generator=generator) * (torch.rand(pairs, 48, generator=generator) < 0.2)
    rows = factors @ torch.randn(48, dimensions, generator=generator)
    rows += 0.5 * torch.randn(pairs, dimensions, generator=generator)
    rows /= rows.norm(dim=1).mean()
    return torch.cat([rows, -rows])


def time_on_card(pairs, dimensions, epochs, device):
    """Wall seconds of an epoch on a graphics card, rows resident: step by step, and as one recorded CUDA graph; the best of `epochs`."""
    rows = made_up(pairs, dimensions).to(device)
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    best = {}
    for way in ("eager", "graph") if device.startswith("cuda") else ("eager",):
        torch.manual_seed(0)
        model = Sae(rows.cpu()).to(device).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=RATE, capturable=device.startswith("cuda"))
        chosen = torch.zeros(BATCH, dtype=torch.long, device=device)

        def step():
            optimiser.zero_grad(set_to_none=False)
            model(rows[chosen]).backward()
            model.project_gradient()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            model.normalise()

        run = step
        if way == "graph":
            # Warm up on another stream, as recording asks for.
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(5):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            run = graph.replay
        for _ in range(epochs):
            order = torch.randperm(len(rows), device=device)
            wait()
            started = time.perf_counter()
            # The few rows after the last whole batch are left out: a graph has one shape.
            for first in range(0, len(rows) - BATCH + 1, BATCH):
                chosen.copy_(order[first : first + BATCH])
                run()
            wait()
            best[way] = min(best.get(way, np.inf), time.perf_counter() - started)
    return best


def time_epochs(pairs, dimensions, epochs, loader):
    """CPU seconds of each epoch on made-up pairs: all of them and their mirror images, no evaluation."""
    rows = made_up(pairs, dimensions)
    torch.manual_seed(0)
    model = Sae(rows)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    seconds = []
    for _ in range(epochs):
        started = time.process_time()
        model.train()
        for batch in batches(rows, True, loader):
            optimiser.zero_grad()
            model(batch).backward()
            model.project_gradient()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            model.normalise()
        seconds.append(time.process_time() - started)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=pathlib.Path, nargs="?")
    parser.add_argument("--time", type=int, nargs=2, metavar=("PAIRS", "DIMENSIONS"))
    parser.add_argument("--epochs", type=int, default=2, help="with --time")
    parser.add_argument("--card", metavar="DEVICE", help="with --time: wall seconds on this device of torch's, such as cuda")
    parser.add_argument("--group", nargs="+", default=["prompt"])
    parser.add_argument("--train-share", type=float, default=0.8)
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--attributes", type=pathlib.Path)
    parser.add_argument("--loader", choices=["dataloader", "slices"], default="dataloader")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reported", choices=["hh", "planted"], help="print these reported figures beside ours")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    peers.quiet()
    torch.set_num_threads(args.threads)
    if args.time and args.card:
        if args.card.startswith("cuda") and not torch.cuda.is_available():
            parser.exit(1, f"torch {torch.__version__} has no card here\n")
        report = {"wall_seconds": time_on_card(*args.time, args.epochs, args.card), "versions": f"torch {torch.__version__}"}
    elif args.time:
        report = {"cpu_seconds": time_epochs(*args.time, args.epochs, args.loader), "versions": f"torch {torch.__version__}", "threads": args.threads}
    if args.time:
        print(report)
        if args.json:
            args.json.write_text(json.dumps(report))
        return
    if not args.input:
        parser.error("a file with vectors, or --time PAIRS DIMENSIONS")

    data = Data(args.input, args.group, args.train_share, args.split_seed)
    attributes = attribute_columns(args.attributes, data.rows) if args.attributes else {}
    fixed = without_sae(data, attributes)
    train = data.deltas[data.train]
    train = torch.cat([train, -train])
    runs, models = [], []
    for seed in args.seeds:
        model, epochs, (cpu, wall) = fit(train, data.deltas[data.test], seed, args.loader)
        runs.append({"seed": seed, "epochs": epochs, "cpu_per_epoch": cpu, "wall_per_epoch": wall, **judge(model, data, attributes)})
        models.append(model)

    numbers = [name for name, value in runs[0].items() if not isinstance(value, dict) and name != "seed"]
    mean = {name: float(np.mean([run[name] for run in runs])) for name in numbers}
    spread = {name: float(np.std([run[name] for run in runs])) for name in numbers}
    mean |= {name: value for name, value in fixed.items() if not isinstance(value, dict)} | {"stability": stability(models)}
    reported = {"hh": HH, "planted": PLANTED}.get(args.reported, {})
    print(f"{args.input.name}: {data.rows} pairs, {len(data.train)} train after dedup, {len(data.test)} held out, {len(runs)} seeds")
    print(f"{'':<16}{'ours':>9}{'sd':>9}{'reported':>10}")
    for name, value in mean.items():
        if value is not None:
            sd = f"{spread[name]:.4f}" if name in spread else ""
            print(f"{name:<16}{value:>9.4f}{sd:>9}{reported.get(name, ''):>10}")
    if attributes:
        print(f"{'attribute':<20}{'best |r| per seed':<24}{'decodable':>10}")
        for name in attributes:
            each = "  ".join(f"{run['attributes'][name]:.2f}" for run in runs)
            print(f"{name:<20}{each:<24}{fixed['decodable'][name]:>10.2f}")
        print("recovered at |r| > .5:", [sum(r > 0.5 for r in run["attributes"].values()) for run in runs])
    if args.json:
        args.json.write_text(json.dumps({"input": args.input.name, "fixed": fixed, "mean": mean, "sd": spread, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
