"""CUDA source of a trajectory: one kernel, in which a thread makes all steps of a lane in registers."""

from collections.abc import Iterator
from functools import lru_cache

from optrun.kernels.cuda.source import C_TYPES, both_bits, statement
from optrun.kernels.deferred import CONDITIONS, DISTINCT, LANES
from optrun.kernels.lower import scalar
from optrun.kernels.trajectory_plan import WRITTEN, TrajectoryPlan


@lru_cache(256)
def trajectory_source(plan: TrajectoryPlan) -> str:
    """Return the kernel `trajectory`; its arguments are the plan's arrays, then its integers."""
    real, dim = C_TYPES[plan.dtype], plan.dim
    written = {*(f"the_{name}" for name in WRITTEN), *(f"all_{name}" for name in plan.variables)}
    parameters = [
        *(
            f"{'' if name in written else 'const '}{C_TYPES[kind]}* __restrict__ {name}"
            for name, kind in plan.arrays.items()
        ),
        *(f"long long {name}" for name in plan.integers),
    ]
    places = {
        f"{name}_{i}": f"all_{name}[lane * across + {i} * along]"
        for name in plan.variables
        for i in range(dim)
    }
    made = sorted({each.target for each in plan.instructions} - {*plan.elements})
    kinds = {name: "bool" if is_condition else real for name, is_condition in plan.columns}
    is_within = (
        f"fabs{'f' * (real == 'float')}(_loss) <= within" + " && _loss > the_above[0]" * plan.has_target
    )
    lines = [
        f'extern "C" __global__ void trajectory({", ".join(parameters)})',
        "{",
        "    for (long long lane = (long long)blockIdx.x * blockDim.x + threadIdx.x; lane < lanes;",
        "         lane += (long long)gridDim.x * blockDim.x) {",
        *(f"        {real} {scalar(name)} = {place};" for name, place in places.items()),
        *(f"        const {real} {name} = the_values[{name[2:]}];" for name in plan.values),
        *_of_lane(plan),
        f"        const {real} within = the_within[lane];",
        "        bool running = the_running[lane];",
        f"        {real}* losses = the_losses + lane;",
        "        long long due = recorded;",
        "        for (long long now = 0; now < steps; now++) {",
        *(f"            const {real} {name} = the_shared[now * width + {name[2:]}];" for name in plan.shared),
        *(
            f"            const {kind} {name} = all_{name}[now * row{name} + lane];"
            for name, kind in kinds.items()
        ),
        *_of_step(plan),
        *(f"            const {real} was_{i} = at_p_{i};" for i in range(dim)),
        *(f"            {'bool' if name.startswith('_b') else real} {name};" for name in made),
        *(f"            {line}" for line in both_bits(plan.instructions, plan.dtype)),
        *(f"            {statement(each, plan.dtype)}" for each in plan.instructions),
        f"            if (running && !({is_within})) {{",
        "                running = the_running[lane] = false;",
        "                the_ended[lane] = now;",
        "                the_last[lane] = _loss;",
        *(f"                the_final[lane * {dim} + {i}] = was_{i};" for i in range(dim)),
        "            }",
        "            if (now == due) {",
        "                *losses = _loss;",
        "                losses += lanes;",
        "                due += every;",
        "            }",
        "        }",
        *(f"        {place} = {scalar(name)};" for name, place in places.items()),
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _of_lane(plan: TrajectoryPlan) -> Iterator[str]:
    """Yield the lines that read the numbers of a lane, of which coefficients are computed."""
    for name, kind, is_condition in plan.form.leaves:
        if kind == LANES:
            yield f"        const {_of_leaf(name, 'lane', is_condition)}"
        elif kind == DISTINCT:
            yield f"        const long long place{name} = places{name}[lane];"


def _of_step(plan: TrajectoryPlan) -> Iterator[str]:
    """Yield the lines that compute the coefficients of a lane at a step."""
    for name, kind, is_condition in plan.form.leaves:
        if kind != LANES:
            place = f"now * row{name} + place{name}" if kind == DISTINCT else "now"
            yield f"            const {_of_leaf(name, place, is_condition)}"
    for each in plan.form.instructions:
        kind = "bool" if each.op in CONDITIONS else "double"
        yield f"            const {kind} {statement(each, 'float64')}"
    for name, value, is_condition in plan.form.results:
        kind = "bool" if is_condition else C_TYPES[plan.dtype]
        yield f"            const {kind} {name} = ({kind}){value};"


def _of_leaf(name: str, place: str, is_condition: bool) -> str:
    return (
        f"bool {name} = all{name}[{place}] != 0;" if is_condition else f"double {name} = all{name}[{place}];"
    )
