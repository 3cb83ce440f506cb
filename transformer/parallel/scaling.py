r"""How long does a training step take on N workers?  On paper: from FLOPs, bytes, bandwidth and latency.

N = D · T · P workers: D hold copies of the model and split the batch (data), T split every matrix (tensor), P split the layers (pipeline).
A step's time is the sum of

- compute, :math:`\text{FLOPs} / (N F)`, and the pipeline's bubble, :math:`\frac{p-1}{m}` of it for m microbatches, a share
  :math:`\frac{p-1}{m+p-1}` of the time (Huang et al. 2019, GPipe, section 2.3; Narayanan et al. 2021, section 2.2);
- the all-reduce of gradients of S bytes, as a ring :math:`2 \frac{n-1}{n} \frac{S}{B} + 2 (n-1)\, \alpha` (Patarasuk & Yuan 2009), or by halving
  and doubling, :math:`2 \log_2 n\, \alpha` in place of the latter (Thakur, Rabenseifner & Gropp 2005), whichever is faster; inside a node first;
- tensor parallelism: four all-reduces of the activations of each layer (Shoeybi et al. 2019, Megatron-LM, section 3);
- pipeline: the activations from stage to stage, forth and back;
- the optimizer, whose time is that of moving its numbers.

Sharding (Rajbhandari et al. 2020, ZeRO) spreads optimizer states (1), gradients too (2), and weights too (3) over the D copies.
Nothing is hidden behind anything unless ``overlap`` says so, so this is the time of a simple program.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A worker and its links: FLOP/s, bytes per second in each direction, seconds."""

    flops: float  # sustained by one worker in matrix products
    memory_bandwidth: float
    memory: float  # bytes of a worker
    bandwidth: float  # to a worker of the same node
    latency: float
    node: int = 1 << 20  # workers in a node; all of them, unless there is a network
    node_bandwidth: float = math.inf  # of one worker, to another node
    node_latency: float = 0.0


@dataclass(frozen=True)
class Job:
    """A model and the batch of a step; numbers of ``width`` and so on as in ``GPT``."""

    parameters: float
    layers: int
    width: int
    context: int
    batch: int  # sequences in a step, over all workers
    forward_flops: float  # for one sequence
    number: int = 2  # bytes of a weight, a gradient and an activation on their way
    state: int = 12  # bytes of optimizer state for each parameter: a master weight and Adam's two numbers
    touched: int = 28  # bytes that an optimizer step reads and writes for each parameter
    recompute: bool = True  # layers are computed again in the backward pass (Chen et al. 2016)

    @property
    def flops(self) -> float:
        """Of a step: the backward pass costs twice the forward pass."""
        return self.batch * self.forward_flops * (4 if self.recompute else 3)


def gpt(layers: int, width: int, context: int, vocabulary: int, batch: int) -> Job:
    """A GPT by its sizes: 12 L C² parameters in the layers, and products with each; attention counted whole, as most papers do."""
    parameters = layers * (12 * width**2 + 13 * width) + (vocabulary + context + 2) * width
    forward = 2 * context * (12 * layers * width**2 + vocabulary * width) + 4 * layers * context**2 * width
    return Job(parameters, layers, width, context, batch, forward)


# NVIDIA A100 SXM 80 GB by its data sheet: 312 TFLOP/s in 16 bits, 2039 GB/s, NVLink 300 GB/s each way; DGX A100: 8 of them, and a network port
# of 200 Gbit/s for each.  60 % of the peak in products, 80 % of the bandwidths and the latencies are our assumptions.
A100 = Machine(0.6 * 312e12, 0.8 * 2039e9, 80e9, 0.8 * 300e9, 5e-6, 8, 25e9, 1e-5)
GPT2_XL = gpt(48, 1600, 1024, 50257, 512)  # Radford et al. (2019), table 2, and its batch
GPT3 = gpt(96, 12288, 2048, 50257, 1536)  # Brown et al. (2020), table 2.1, and a batch of 3.1 million tokens


@dataclass(frozen=True)
class Layout:
    """How N = data · tensor · pipeline workers share the work; ``sharding`` is the stage of ZeRO."""

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    sharding: int = 0
    microbatch: int = 1  # sequences that pass through a pipeline together

    @property
    def workers(self) -> int:
        return self.data * self.tensor * self.pipeline


@dataclass(frozen=True)
class Step:
    """Where the time of a step goes, in seconds, and the memory of a worker, in bytes."""

    compute: float
    bubble: float
    data: float
    tensor: float
    pipeline: float
    optimizer: float
    memory: float

    @property
    def seconds(self) -> float:
        return self.compute + self.bubble + self.data + self.tensor + self.pipeline + self.optimizer


def ring(size: float, n: int, bandwidth: float, latency: float) -> float:
    """Seconds in which n workers add up ``size`` bytes in a ring: twice (n − 1) messages of size / n."""
    return 2 * (n - 1) / n * size / bandwidth + 2 * (n - 1) * latency


def halving(size: float, n: int, bandwidth: float, latency: float) -> float:
    """The same by halving and doubling: as many bytes in 2 ⌈log₂ n⌉ messages."""
    return 2 * (n - 1) / n * size / bandwidth + 2 * math.ceil(math.log2(n)) * latency


def all_reduce(size: float, n: int, machine: Machine, local: int) -> float:
    """Seconds in which n workers, ``local`` of them in each node, add up ``size`` bytes.

    Inside the nodes first, so that each worker takes the part size / local through the network, and then back.
    """
    inside, outside = min(n, local), math.ceil(n / local)
    links = [(size, inside, machine.bandwidth, machine.latency), (size / inside, outside, machine.node_bandwidth, machine.node_latency)]
    return sum(min(ring(*link), halving(*link)) for link in links if link[1] > 1)


def step(job: Job, machine: Machine, layout: Layout, overlap: float = 0.0) -> Step:
    """The time of a step and the memory of a worker; ``overlap`` is the share of the backward pass that hides gradients on their way.

    Raises ValueError for a layout that cannot split the job.
    """
    data, tensor, pipeline = layout.data, layout.tensor, layout.pipeline
    if min(data, tensor, pipeline) < 1 or pipeline > job.layers or tensor > job.width or not 0 <= layout.sharding <= 3 or not 0 <= overlap <= 1:
        raise ValueError(f"step: {layout} with overlap {overlap} cannot split {job.layers} layers of width {job.width}")
    if data * layout.microbatch > job.batch:
        raise ValueError(f"step: {data} copies with microbatches of {layout.microbatch} are more than the batch of {job.batch} sequences")
    microbatches = math.ceil(job.batch / data / layout.microbatch)
    # a copy with one sequence more than the others keeps them waiting
    compute = math.ceil(job.batch / data) * job.flops / job.batch / (tensor * pipeline * machine.flops)
    activations = layout.microbatch * job.context * job.width * job.number  # bytes between two layers
    held = job.parameters / (tensor * pipeline)  # parameters of a worker

    rounds = 4 * math.ceil(job.layers / pipeline) * microbatches * (1.5 if job.recompute else 1) if tensor > 1 else 0
    inside = min(tensor, machine.node)
    stages = 2 * microbatches if pipeline > 1 else 0
    across = machine.node_bandwidth if machine.node < tensor * pipeline else machine.bandwidth
    gradients = all_reduce(job.number * held, data, machine, max(1, machine.node // tensor)) * (1.5 if layout.sharding == 3 else 1)
    return Step(
        compute=compute,
        bubble=compute * (pipeline - 1) / microbatches,
        data=max(0.0, gradients - overlap * compute / 2),  # the backward pass is more than half of the compute
        tensor=rounds * all_reduce(activations, tensor, machine, inside),
        pipeline=stages * (activations / tensor / across + max(machine.node_latency, machine.latency)),
        optimizer=job.touched * held / (data if layout.sharding else 1) / machine.memory_bandwidth,
        memory=state_bytes(job, held, data, layout.sharding) + activation_bytes(job, activations, layout, microbatches),
    )


def state_bytes(job: Job, held: float, data: int, sharding: int) -> float:
    """Of weights, gradients and optimizer states; each stage of sharding spreads one more of them.  ZeRO, figure 1."""
    spread = [job.number, job.number, job.state]  # weights, gradients, states
    return held * sum(size / (data if 3 - i <= sharding else 1) for i, size in enumerate(spread))


def activation_bytes(job: Job, activations: float, layout: Layout, microbatches: int) -> float:
    """Kept for the backward pass by a worker of the first stage, which waits for as many microbatches as there are stages.

    Korthikanti et al. (2022), equations 1 and 2, with attention that keeps no T×T array; a layer's input alone where it is recomputed.
    """
    layer = activations * (1 if job.recompute else (10 + 24 / layout.tensor) / 2)
    return layer * math.ceil(job.layers / layout.pipeline) * min(microbatches, layout.pipeline)


def layouts(job: Job, machine: Machine, workers: int, sharding: int = 1) -> Iterator[Layout]:
    """All ways of sharing the work of up to ``workers``: tensor parallelism inside a node, pipelines of stages of equal length."""
    for tensor in (t for t in (1, 2, 4, 8, 16) if t <= machine.node and job.width % t == 0):
        for pipeline in (p for p in range(1, job.layers + 1) if job.layers % p == 0):
            data = min(workers // (tensor * pipeline), job.batch)
            for microbatch in (1, 2, 4, 8):
                if data >= 1 and data * microbatch <= job.batch:
                    yield Layout(data, tensor, pipeline, sharding, microbatch)


def best(job: Job, machine: Machine, workers: int, sharding: int = 1, overlap: float = 0.0) -> tuple[Layout, Step] | None:
    """The fastest layout for up to ``workers`` whose memory suffices, and its step; None where none does."""
    found = ((layout, step(job, machine, layout, overlap)) for layout in layouts(job, machine, workers, sharding))
    return min((pair for pair in found if pair[1].memory <= machine.memory), key=lambda pair: pair[1].seconds, default=None)
