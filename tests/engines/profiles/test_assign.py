"""Every node belongs to the operation that computes it."""

from __future__ import annotations

from edgevision.engines.profiles.assign import Assigned, Operation, assign
from tests.engines.profiles.graphs import residual


def nodes(*names: str) -> Assigned:
    return Assigned(names, "")


def test_fused_sums_and_activations_belong_to_the_product() -> None:
    operations = [
        Operation(("b_nchwc",), activates=True),  # named for the value behind the activation
        Operation(("c_nchwc",), adds=True, activates=True),  # named for the convolution
        Operation(("Mul g/QuickGelu/",)),
        Operation(("Identity out",), ("out",)),
    ]
    assert assign(residual(), operations) == (
        nodes("Conv a", "Relu b"),
        nodes("Conv c", "Add d", "Relu e"),
        nodes("Sigmoid f", "Mul g"),
        nodes("Identity out"),
    )


def test_nodes_before_an_anchor_are_inside_and_nodes_behind_all_go_with_their_input() -> None:
    operations = [Operation(("Relu b",)), Operation(("Mul g",))]
    assert assign(residual(), operations) == (
        nodes("Conv a", "Relu b"),
        nodes("Conv c", "Add d", "Relu e", "Sigmoid f", "Mul g", "Identity out"),
    )


def test_an_operation_that_only_moves_memory_computes_no_node() -> None:
    operations = [
        Operation(("ReorderInput",), ("a",), moves=True),
        Operation(("Conv a/WithoutBiases", "Conv a", "Relu b")),
        Operation(("b_abcd_acdb_Conv c",)),
        Operation(("c", "d", "e")),
    ]
    found = assign(residual(), operations)
    assert found[0] == Assigned((), "Conv a")
    assert found[1] == nodes("Conv a", "Relu b")
    assert found[2] == Assigned((), "Relu b"), "a longer name is near what it begins with"
    assert found[3].nodes[:3] == ("Conv c", "Add d", "Relu e")


def test_an_exact_name_wins_over_a_returned_value() -> None:
    operations = [Operation(("Relu b",), ("a",)), Operation(("Conv a",), ("b",))]
    found = assign(residual(), operations)
    assert (found[0].nodes[0], found[1].nodes) == ("Relu b", ("Conv a",))
