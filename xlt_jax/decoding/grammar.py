"""Automata over token ids that say which outputs of a generation are well formed, on the host.

An automaton begins in state 0 and follows one transition per token; the end, which EOS leads to,
has none. It is deterministic: no two transitions of a state have the same token.

S states   E transitions of all states   K transitions of one state   U distinct tokens
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Ids = Sequence[int]


@dataclasses.dataclass(frozen=True)
class Automaton:
    """The outputs allowed for one example.

    Transitions of state s are those from ``offsets[s]`` to ``offsets[s + 1]``, by token. States
    mostly have one, and a sentence's some have dozens: a rectangle would be 20 to 40 times as big.
    """

    offsets: np.ndarray  # S + 1 int32
    tokens: np.ndarray  # E int32
    targets: np.ndarray  # E int32, the state that the transition leads to

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.offsets) - 1


class Automata(NamedTuple):
    """Those of a batch, padded to powers of two; a padded state has no transitions.

    Tokens are places in ``ids``, so that the output layer is read for these few ids only.
    """

    ids: np.ndarray  # BU int32, the tokens of each automaton, then 0
    offsets: np.ndarray  # BS int32, at least S + 1
    tokens: np.ndarray  # BE int32, 0 to U - 1
    targets: np.ndarray  # BE int32

    @property
    def max_choices(self) -> int:
        """K, the most transitions that a state has, as a power of two (on the host only)."""
        return _power_of_two(np.diff(self.offsets, axis=1).max())


def stack(
    automata: Sequence[Automaton],
    rows: int | None = None,
    at_least: tuple[int, int, int] = (1, 1, 1),
) -> Automata:
    """The automata of a batch, followed by empty ones up to ``rows``, which end at once.

    Args:
        automata: At least one.
        rows: Of the arrays; None: as many as automata.
        at_least: U, S and E of the arrays at least, so that batches have few different shapes.
    """
    rows = len(automata) if rows is None else rows
    if not 0 < len(automata) <= rows:
        raise ValueError(f"{len(automata)} automata for {rows} rows: give 1 to that many.")
    distinct = [np.unique(one.tokens, return_inverse=True) for one in automata]

    def zeros(*sizes: int) -> np.ndarray:
        return np.zeros((rows, _power_of_two(max(sizes))), np.int32)

    min_ids, min_states, min_edges = at_least
    stacked = Automata(
        ids=zeros(min_ids, *(len(ids) for ids, _ in distinct)),
        offsets=zeros(min_states, *(len(one.offsets) for one in automata)),
        tokens=zeros(min_edges, *(len(one.tokens) for one in automata)),
        targets=zeros(min_edges, *(len(one.tokens) for one in automata)),
    )
    for row, (one, (ids, places)) in enumerate(zip(automata, distinct)):
        stacked.ids[row, : len(ids)] = ids
        stacked.offsets[row] = len(one.tokens)  # of the padding
        stacked.offsets[row, : len(one.offsets)] = one.offsets
        stacked.tokens[row, : len(places)] = places
        stacked.targets[row, : len(places)] = one.targets
    return stacked


def one_of(choices: Sequence[Ids], eos_id: int) -> Automaton:
    """Allows one of the choices, then EOS: classification by generating the answer.

    Raises:
        ValueError: No choices.
    """
    if not choices:
        raise ValueError("choices is empty: give at least one.")
    children, finals = _trie(choices)
    end = len(children)
    edges = [(node, token, child) for node in range(end) for token, child in children[node].items()]
    edges += [(node, eos_id, end) for node in finals]
    return _from_edges(*np.array(edges).T, end + 1)


def tagged_words(words: Sequence[Ids], tags: Sequence[Ids], eos_id: int) -> Automaton:
    """Allows word 1, one of the tags, word 2, one of the tags, and so on, then EOS.

    Args:
        words: Token ids of each word of the sentence, all to be copied; may be empty, as those of a
            word that the vocabulary normalises to nothing.
        tags: Token ids of each tag; one may begin like another, or be its beginning.
        eos_id: Ends the output.

    Raises:
        ValueError: No tags, or one without ids.
    """
    _check_not_empty("tags", tags)
    children, finals = _trie(tags)
    inner = [node for node in range(len(children)) if children[node]]
    number_of = {node: number for number, node in enumerate(inner)}
    tag_edges = []  # within the states of one word; its last is followed by the next word's first
    for number, node in enumerate(inner):
        for token, child in children[node].items():
            if child in number_of:
                tag_edges.append((number, token, number_of[child]))
            if child in finals:
                tag_edges.append((number, token, len(inner)))
    from_X, token_X, to_X = np.array(tag_edges).T

    # A word's states: one before each of its tokens, then the inner nodes of the tags.
    num_words = len(words)
    lengths_W = np.fromiter(map(len, words), np.int64, num_words)
    copied_N = np.array([token for word in words for token in word], np.int64)
    word_N = np.repeat(np.arange(num_words), lengths_W)
    copy_N = np.arange(len(copied_N)) + word_N * len(inner)
    root_W1 = (np.cumsum(lengths_W) + np.arange(num_words) * len(inner))[:, None]
    last = len(copied_N) + num_words * len(inner)
    return _from_edges(
        np.concatenate([copy_N, (root_W1 + from_X).ravel(), [last]]),
        np.concatenate([copied_N, np.tile(token_X, num_words), [eos_id]]),
        np.concatenate([copy_N + 1, (root_W1 + to_X).ravel(), [last + 1]]),
        last + 2,
    )


def labelled_spans(
    words: Sequence[Ids],
    labels: Sequence[Ids],
    separator: Ids,
    eos_id: int,
    nothing: Ids = (),
) -> Automaton:
    """Allows ``label`` + words copied from the sentence, any number of times, then EOS.

    Such spans are runs of whole words in the order of the sentence, each beginning after the one
    before has ended, with ``separator`` in between: ``PER: Ada Lovelace $$ LOC: London``, mT5's
    form of named entities. Where a span occurs several times the earliest place counts, so that
    whatever may follow any of them is allowed.

    Args:
        words: Token ids of each word of the sentence; words without ids are passed over.
        labels: Token ids of what precedes a span.
        separator: Token ids.
        eos_id: Ends the output.
        nothing: The whole output, before EOS, where there is no span.

    Returns:
        An automaton whose number of states grows with the length of a sentence in which few words
        recur, and at worst with its square.

    Raises:
        ValueError: No labels, or a label or the separator has no ids.
    """
    _check_not_empty("labels", labels)
    _check_not_empty("separator", [separator])
    ids = [token for word in words for token in word]
    if not ids:
        return one_of([nothing], eos_id)
    children, finals = _trie([[*separator, *label] for label in labels])
    # After a label it does not matter which it was: all nodes without children are the last one.
    leaf = len(children) - 1
    children = [{t: child if children[child] else leaf for t, child in c.items()} for c in children]
    start = 0
    for token in separator:
        start = children[start][token]
    nowhere = len(children)  # nodes from here on are of ``nothing``, which no span precedes
    end = start
    for token in nothing:
        child = children[end].get(token, len(children))
        if child == len(children):
            children.append({})
            children[end][token] = child
        end = child
    # A set of places in ``ids`` is an integer with a bit for each.
    word_ends, begins, begins_from = 0, {}, {}
    first = len(ids)
    for word in reversed([word for word in words if word]):
        word_ends |= 1 << (first - 1)
        first -= len(word)
        places, _ = begins.get(word[0], (0, ()))
        begins = begins_from[first] = begins | {word[0]: (places | 1 << first, ())}

    def moves(state: tuple[int, tuple]) -> dict[int, tuple]:
        """Next states of (places just copied, pairs of a trie's node and the first free place)."""
        places, pairs = state
        reached: dict[int, tuple] = {}

        def reach(token: int, place: int, pair: tuple = ()) -> None:
            if token in reached:
                known_place, known_pair = reached[token]
                place, pair = known_place | place, _earliest(known_pair + pair)
            reached[token] = place, pair

        for node, free in pairs:
            if node == end and not free:
                reach(eos_id, 0)
            for token, child in children[node].items():
                if child < nowhere or not free:
                    reach(token, 0, ((child, free),))
            if node in finals and not reached:  # mostly
                reached.update(begins_from[free])
            elif node in finals:
                for token, (place, _) in begins_from[free].items():
                    reach(token, place)
        following = (places << 1) & ((1 << len(ids)) - 1)
        while following:
            place = following & -following
            reach(ids[place.bit_length() - 1], place)
            following ^= place
        if finished := places & word_ends:
            reach(eos_id, 0)
            free = (finished & -finished).bit_length()
            if free < len(ids):
                for token, child in children[0].items():
                    reach(token, 0, ((child, free),))
        return reached

    return _explore((0, ((start, 0),)), moves)


def _earliest(pairs: tuple) -> tuple:
    """One pair for each node, of the first free place: what follows a later one follows it too."""
    return tuple(sorted(dict(sorted(pairs, reverse=True)).items()))


def _trie(sequences: Sequence[Ids]) -> tuple[list[dict[int, int]], set[int]]:
    """Children of every node by token, the root being node 0, and the nodes where one ends."""
    children: list[dict[int, int]] = [{}]
    finals = set()
    for sequence in sequences:
        node = 0
        for token in sequence:
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
            node = children[node][token]
        finals.add(node)
    return children, finals


def _from_edges(
    from_E: np.ndarray, token_E: np.ndarray, to_E: np.ndarray, num_states: int
) -> Automaton:
    """The automaton of transitions in any order; a state may have several for one token."""
    order_E = np.lexsort((token_E, from_E))
    from_E, token_E, to_E = from_E[order_E], token_E[order_E], to_E[order_E]
    offsets = np.searchsorted(from_E, np.arange(num_states + 1)).astype(np.int32)
    if not ((from_E[1:] == from_E[:-1]) & (token_E[1:] == token_E[:-1])).any():
        return Automaton(offsets, token_E.astype(np.int32), to_E.astype(np.int32))

    def moves(states: frozenset[int]) -> dict[int, frozenset[int]]:
        reached: dict[int, frozenset[int]] = {}
        for state in states:
            edges = slice(*offsets[state : state + 2])
            for token, to in zip(token_E[edges].tolist(), to_E[edges].tolist()):
                reached[token] = reached.get(token, frozenset()) | {to}
        return reached

    return _explore(frozenset([0]), moves)


def _explore(start: Hashable, moves: Callable[[Any], Mapping[int, Hashable]]) -> Automaton:
    """The automaton of all states that can be reached, by ``moves(state) -> {token: state}``."""
    numbers = {start: 0}
    counts, tokens, targets = [], [], []
    waiting = [start]
    for state in waiting:
        reached = moves(state)
        counts.append(len(reached))
        for token, target in reached.items():
            number = numbers.setdefault(target, len(numbers))
            if number == len(waiting):
                waiting.append(target)
            tokens.append(token)
            targets.append(number)
    from_E = np.repeat(np.arange(len(counts)), counts)
    return _from_edges(from_E, np.array(tokens), np.array(targets), len(counts))


def _power_of_two(number: int) -> int:
    return 1 << (int(number) - 1).bit_length() if number > 1 else 1


def _check_not_empty(name: str, sequences: Sequence[Ids]) -> None:
    if not len(sequences) or not all(map(len, sequences)):
        raise ValueError(
            f"{name} is {list(sequences)!r}: give at least one, each of one token id or more."
        )
