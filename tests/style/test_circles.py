"""Modules have no circular imports, including imports for types and inside functions."""

import grimp

PACKAGES = ("mlops_runtime", "mlops_local", "mlops_cli", "mlops_constructs")


def test_there_is_no_circle_of_imports() -> None:
    """Lists each import that leads back to its own module."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=False)
    imports = [(m, found) for m in sorted(graph.modules) for found in graph.find_modules_directly_imported_by(m)]

    assert len(imports) > 2000
    assert [f"{module} imports {found}" for module, found in imports if graph.chain_exists(found, module)] == []
