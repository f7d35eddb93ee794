"""Reading one SELECT scope by scope: what every output column is made of, and what decides about the rows."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pipelines.lineage.forms import Unresolved, place

SELECT, FILTER, JOIN, GROUP, ORDER, WINDOW = "select", "filter", "join", "group", "order", "window"
CLAUSES = (SELECT, FILTER, JOIN, GROUP, ORDER, WINDOW)
_READ = {"with_", "expressions", "from_", "joins", "laterals", "where", "group", "having", "qualify", "order", "distinct", "windows", "limit", "offset", "sample",
         "kind", "hint", "operation_modifiers"}
Outputs = list[tuple[str, frozenset[tuple[str, str, str]]]]


class Edge(NamedTuple):
    """One column that a view reads. `column`: the view's own, None where the clause decides about every row."""

    column: str | None
    source_view: str
    source_column: str
    clause: str


class Reading:
    """One qualified SELECT, read scope by scope."""

    def __init__(self, root: Any, known: set[str]):
        self.root, self.known = root, known
        self.scopes = {id(scope.expression): scope for scope in root.traverse()}
        self._outputs: dict[int, Outputs] = {}

    def all(self) -> Iterator[Edge]:
        """Every edge of the view."""
        for column, found in self.outputs(self.root):
            yield from (Edge(column, *one) for one in found)
        for scope in self.scopes.values():
            for clause, expression in self._deciding(scope):
                yield from (Edge(None, *one) for one in self.resolve(expression, scope, clause))
            yield from self._set_operation(scope)

    def outputs(self, scope: Any) -> Outputs:
        """The output columns of a scope and what each is made of, back to the relations."""
        key = id(scope.expression)
        if key not in self._outputs:
            self._outputs[key] = []      # a recursive CTE meets itself: its other branch says what it reads
            self._outputs[key] = self._outputs_of(scope)
        return self._outputs[key]

    def _outputs_of(self, scope: Any) -> Outputs:
        from sqlglot import exp

        tree = scope.expression
        if isinstance(tree, exp.SetOperation):
            left, right = (self.outputs(one) for one in self._sides(tree))
            return left if isinstance(tree, exp.Except) else _united(left, right, bool(tree.args.get("by_name")))
        if isinstance(tree, exp.Subquery):
            return self.outputs(self.scopes[id(tree.unnest())])
        if not isinstance(tree, exp.Select):
            return []
        unknown = [key for key, value in tree.args.items() if value and key not in _READ]
        if unknown:
            raise Unresolved(f"the clause {unknown[0].rstrip('_').upper()} cannot be followed")
        for one in tree.selects:
            if one.is_star and not isinstance(one.unalias(), exp.Count):
                raise Unresolved(f"the star {one.sql(dialect='duckdb')!r} does not resolve to columns; name them")
        return [(one.alias_or_name, self.resolve(one.unalias(), scope, SELECT)) for one in tree.selects]

    def _sides(self, tree: Any) -> list[Any]:
        """The scopes left and right of a set operation."""
        return [self.scopes[id(side)] if id(side) in self.scopes else self.scopes[id(side.unnest())] for side in (tree.this, tree.expression)]

    def resolve(self, expression: Any, scope: Any, clause: str) -> frozenset[tuple[str, str, str]]:
        """The (relation, column, clause)s that an expression reads; inside it, windows, filters and orders are clauses of their own."""
        from sqlglot import exp

        found: set[tuple[str, str, str]] = set()
        waiting = [(expression, clause)]
        while waiting:
            node, where = waiting.pop()
            if isinstance(node, exp.Column):
                found |= self._column(node, scope, where)
            elif isinstance(node, exp.TableColumn):
                raise Unresolved(f"the whole row {node.name!r} cannot be followed to its columns; name them")
            elif isinstance(node, exp.Exists):
                continue      # what EXISTS selects is never looked at; its filters are read as a scope of their own
            elif isinstance(node, exp.Query) and not isinstance(node, exp.Subquery):
                inner = self.scopes.get(id(node))
                if inner is None:
                    raise Unresolved("a nested SELECT cannot be followed")
                found |= {(v, c, _within(k, where)) for _, made in self.outputs(inner) for v, c, k in made}
            else:
                waiting += [(child, _clause_of(node, key, where)) for key, child in _children(node)]
        return frozenset(found)

    def _column(self, column: Any, scope: Any, clause: str) -> set[tuple[str, str, str]]:
        from sqlglot import exp

        if not column.table and scope.expression.args.get("order") and isinstance(scope.expression, exp.Query):
            return self._own(column.name, scope, clause)
        source, at = None, scope
        while at is not None and source is None:
            source, at = at.sources.get(column.table), at.parent
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Func):
            return set(self.resolve(source.this, scope, clause))
        if isinstance(source, exp.Table):
            view = f"{source.db}.{source.name}"
            if view not in self.known:
                raise Unresolved(f"{view} is no published relation")
            return {(view, column.name, clause)}
        if source is None:
            raise Unresolved(f"column {column.sql(dialect='duckdb')}{place(column)} belongs to no relation")
        if isinstance(source.expression, (exp.UDTF, exp.Table)) and not isinstance(source.expression, exp.Subquery):
            return {(v, c, _within(k, clause)) for v, c, k in self.resolve_arguments(source)}
        return self._own(column.name, source, clause)

    def _own(self, column: str, scope: Any, clause: str) -> set[tuple[str, str, str]]:
        """What an output column of a scope is made of, as it counts in `clause`."""
        made = self.outputs(scope)
        if made and column not in {c for c, _ in made}:
            raise Unresolved(f"column {column} cannot be followed")
        return {(v, c, _within(k, clause)) for name, found in made if name == column for v, c, k in found}

    def resolve_arguments(self, scope: Any) -> frozenset[tuple[str, str, str]]:
        """What a table function such as unnest() is given."""
        found: frozenset[tuple[str, str, str]] = frozenset()
        for key, child in _children(scope.expression):
            if key != "alias":
                found |= self.resolve(child, scope, SELECT)
        return found

    def _deciding(self, scope: Any) -> Iterator[tuple[str, Any]]:
        """(clause, expression) of everything in a scope that decides which rows there are, how they are paired and in which order."""
        from sqlglot import exp

        args = scope.expression.args
        if isinstance(scope.expression, exp.Query) and not isinstance(scope.expression, exp.Subquery):
            for key, clause in (("where", FILTER), ("having", FILTER), ("qualify", FILTER), ("limit", FILTER), ("offset", FILTER), ("group", GROUP), ("order", ORDER),
                                ("distinct", GROUP)):
                if isinstance(args.get(key), exp.Expression):
                    yield clause, args[key]
            every = [key for key in ("group", "order") if args.get(key) and _is_all(args[key])]
            yield from ((GROUP if key == "group" else ORDER, one.unalias()) for key in every for one in scope.expression.selects if not one.find(exp.AggFunc) or key == "order")
            yield from ((WINDOW, one) for one in args.get("windows") or ())
            for join in args.get("joins") or ():
                yield from ((JOIN, join.args[key]) for key in ("on", "match_condition") if join.args.get(key))
        elif isinstance(scope.expression, exp.UDTF) and not isinstance(scope.expression, exp.Subquery):
            yield from ((JOIN, child) for key, child in _children(scope.expression) if key != "alias")      # how many rows there are

    def _set_operation(self, scope: Any) -> Iterator[Edge]:
        """INTERSECT and EXCEPT filter by every column of their right side."""
        from sqlglot import exp

        if isinstance(scope.expression, (exp.Except, exp.Intersect)):
            for _, made in self.outputs(self._sides(scope.expression)[1]):
                yield from (Edge(None, v, c, FILTER) for v, c, _ in made)


def _united(left: Outputs, right: Outputs, by_name: bool) -> Outputs:
    """The columns of a UNION or INTERSECT, by place or by name; a side without columns is a recursive CTE that meets itself."""
    if by_name:
        given, other = dict(left), dict(right)
        return [(c, given.get(c, frozenset()) | other.get(c, frozenset())) for c in dict.fromkeys((*given, *other))]
    if left and right and len(left) != len(right):
        raise Unresolved("a UNION of SELECTs with different numbers of columns cannot be followed")
    return [(c, made | other) for (c, made), (_, other) in zip(left, right)] if left and right else left or right


def _is_all(clause: Any) -> bool:
    """GROUP BY ALL or ORDER BY ALL."""
    return bool(clause.args.get("all")) or any(str(one).split(" ")[0].upper() == "ALL" for one in clause.expressions)


def _within(inner: str, outer: str) -> str:
    """The clause of a column that was read inside another: a filter on a window's result is a filter."""
    return inner if outer == SELECT else outer


def _clause_of(node: Any, key: str, clause: str) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Window) and key in ("partition_by", "order", "spec"):
        return _within(WINDOW, clause)
    if isinstance(node, exp.Filter) and key == "expression":
        return _within(FILTER, clause)
    if isinstance(node, exp.Order) and key == "expressions":
        return _within(ORDER, clause)
    return clause


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    from sqlglot import exp

    for key, value in node.args.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, exp.Expression):
                yield key, one
