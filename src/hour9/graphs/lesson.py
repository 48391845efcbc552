"""What a step of training on nodes sees, and what it is told.

The few labelled nodes are heard with all that their answers depend on. The others teach, too, where
`consistency` asks that answers under different dropout agree.

Shapes: N nodes, K classes, V views.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.device import pick_device
from hour9.engine.fit import Batch
from hour9.graphs.receptive_field import Network, ReceptiveField, Surroundings
from hour9.graphs.settings import OnNodes
from hour9.params import Refused

LARGE = 50_000  # nodes of a graph that is answered for in parts
VIEWS, TEMPERATURE = 2, 0.5  # of the consistency among answers


class Lesson:
    """The labelled nodes, batch by batch, each with what the network must see around them."""

    def __init__(self, settings: OnNodes, around: Surroundings, model: Network, known: Batch):
        self.settings, self.around, self.model, self.known = settings, around, model, known
        self.most = settings.neighbours or [0] * model.depth
        self.device = pick_device(settings.device)
        asked, n = known["position"].numpy(), len(around.adjacency)
        at_once = len(asked) <= settings.batch_size and not any(self.most)
        if settings.consistency:
            if n >= LARGE:
                raise Refused(
                    f"consistency asks for all nodes in one step, fewer than {LARGE}; "
                    f"the graph has {n}: set it to 0"
                )
            at_once = True
            asked = np.concatenate([asked, np.setdiff1d(np.arange(n), asked)])
        self.whole = around.field(asked, self.most).to(self.device) if at_once else None

    def batches(self, epoch: int) -> list[Batch]:
        """The labelled nodes in an order of the epoch's own, with a seed for each batch's draw."""
        if self.whole:
            return [self.known]
        draw = np.random.default_rng([self.settings.seed, epoch])
        order = torch.from_numpy(draw.permutation(len(self.known["position"])))
        return [
            {name: values[part] for name, values in self.known.items()}
            | {"draw": torch.tensor([self.settings.seed, epoch, number])}
            for number, part in enumerate(order.split(self.settings.batch_size))
        ]

    def loss(self, wrapped: nn.Module, batch: Batch) -> Tensor:
        penalty = self.settings.l2 / 2 * self.model.first.weight.square().sum()
        seen = self.whole or self.around_batch(batch)
        if not self.settings.consistency:
            return F.cross_entropy(wrapped(seen), batch["target"]) + penalty
        views = [wrapped(seen) for _ in range(VIEWS)]  # (N, K) each, the labelled nodes first
        surprise = [F.cross_entropy(v[: len(batch["target"])], batch["target"]) for v in views]
        return sum(surprise) / VIEWS + self.settings.consistency * disagreement(views) + penalty

    def around_batch(self, batch: Batch) -> ReceptiveField:
        draw = np.random.default_rng(batch["draw"].tolist())
        return self.around.field(batch["position"].cpu().numpy(), self.most, draw).to(self.device)


def disagreement(views: list[Tensor]) -> Tensor:  # (N, K) each -> ()
    """How far answers under different dropout are from their mean, made surer.

    Mean over the nodes of |p_v - sharp(p̄)|², sharp(p) ∝ p^(1/T) (Feng et al. 2020, section 3.2):
    what the unlabelled nodes teach is to answer alike whatever is hidden.
    """
    shares = torch.stack(views).softmax(dim=2)  # (V, N, K)
    with torch.no_grad():
        sure = shares.mean(dim=0).pow(1 / TEMPERATURE)
        sure /= sure.sum(dim=1, keepdim=True)
    return (shares - sure).square().sum(dim=2).mean()
