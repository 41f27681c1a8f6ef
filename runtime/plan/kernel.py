"""The loops of the planner, compiled where numba is installed: the same plans without, slower.

Random numbers are those of G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003,
of 32 bits, and no function of the system's library is called, so that both ways agree.
"""

import math

from pal_units.compiled import compiled

_MASK = 0xFFFFFFFF


@compiled
def transfer(problem, size, a, b):
    """Seconds of ``size`` bytes from node ``a`` to ``b``."""
    if a == b:
        return 0.0
    speed = problem.bandwidth[a, b]
    if speed == 0.0:
        return math.inf
    return problem.latency[a, b] + size / speed


@compiled
def ready(problem, task, p, node, end):
    """When all that a task takes is at node ``p``; sources whose ``node`` is -1 do not count."""
    found = problem.release[task, p]
    for at in range(problem.source_at[task], problem.source_at[task + 1]):
        source = problem.source[at]
        a = node[source]
        if a < 0:
            continue
        came = end[source]
        if a != p:
            came += transfer(problem, problem.source_size[at], a, p)
        if came > found:
            found = came
    return found


@compiled
def list_schedule(problem, priority, ahead, missing, node, start, end, slots, count):
    """Give the ready task of the highest priority the node of the least ``end + ahead``, and the
    first gap that it fits in; returns the makespan, infinite if a task finds no node.

    ``missing``: sources that are still to be planned, -1 for tasks that are not planned here; used
    up.  ``node`` (-1 where not planned), ``start``, ``end``: the plan.  ``slots`` (nodes, tasks,
    2), ``count`` (nodes): for work.
    """
    tasks, nodes = problem.times.shape
    makespan = 0.0
    count[:] = 0
    while True:
        task = -1
        for t in range(tasks):
            if missing[t] == 0 and (task < 0 or priority[t] > priority[task]):
                task = t
        if task < 0:
            return makespan
        missing[task] = -1
        best = math.inf
        chosen = -1
        begin = 0.0
        for p in range(nodes):
            length = problem.times[task, p]
            if length == math.inf:
                continue
            at = max(ready(problem, task, p, node, end), problem.free[p])
            for k in range(count[p]):
                if at + length <= slots[p, k, 0]:
                    break
                at = max(at, slots[p, k, 1])
            if at + length <= problem.until[p] and at + length + ahead[task, p] < best:
                best = at + length + ahead[task, p]
                chosen = p
                begin = at
        if chosen < 0:
            return math.inf
        node[task] = chosen
        start[task] = begin
        end[task] = begin + problem.times[task, chosen]
        makespan = max(makespan, end[task])
        k = count[chosen]
        while k > 0 and slots[chosen, k - 1, 0] > begin:
            slots[chosen, k, 0] = slots[chosen, k - 1, 0]
            slots[chosen, k, 1] = slots[chosen, k - 1, 1]
            k -= 1
        slots[chosen, k, 0] = begin
        slots[chosen, k, 1] = end[task]
        count[chosen] += 1
        for at in range(problem.target_at[task], problem.target_at[task + 1]):
            target = problem.target[at]
            if missing[target] > 0:
                missing[target] -= 1


@compiled
def follow(problem, order, first, node, end, free, bound, tail):
    """Run tasks in an order, each on its node after those before it, from place ``first`` on.

    ``free`` (places + 1, nodes) has when nodes are free before each place, the row of ``first`` is
    given.  Stops with infinity where the makespan is sure to be above ``bound``, since ``tail`` is
    the least time from the end of a task to the end of all.  Returns the last end of these places
    and the place where it stopped.
    """
    nodes = free.shape[1]
    most = 0.0
    for place in range(first, len(order)):
        task = order[place]
        p = node[task]
        done = max(ready(problem, task, p, node, end), free[place, p]) + problem.times[task, p]
        end[task] = done
        if done + tail[task] > bound or done > problem.until[p] or done == math.inf:
            return math.inf, place + 1
        if done > most:
            most = done
        for q in range(nodes):
            free[place + 1, q] = free[place, q]
        free[place + 1, p] = done
    return most, len(order)


@compiled
def move(order, where, old, new):
    """Move what is at place ``old`` of an order to place ``new``."""
    task = order[old]
    step = 1 if new > old else -1
    for place in range(old, new, step):
        order[place] = order[place + step]
        where[order[place]] = place
    order[new] = task
    where[task] = new


@compiled
def draw(x):
    """The next of the random numbers, 1 to 2**32 - 1."""
    x ^= (x << 13) & _MASK
    x ^= x >> 17
    return x ^ ((x << 5) & _MASK)


@compiled
def anneal(
    problem,
    order,
    node,
    tail,
    thresholds,
    hot,
    cooling,
    steps,
    enough,
    x,
    best_order,
    best_node,
    work,
):
    """Improve an order and its nodes by ``steps`` random moves; returns the best makespan.

    A move gives a task another node, or another place in the order between its sources and its
    targets, or both.  The temperature begins at ``hot`` seconds and falls by a factor ``cooling`` a
    step; ``thresholds``: what Metropolis's rule allows at temperature 1, by a random index (a power
    of 2 of them).  Ends when ``enough`` is reached.  ``x``: state of the random numbers, not 0.
    ``order``, ``node`` are changed; the best go into ``best_order`` and ``best_node``.  ``work``:
    see ``anneal.py``.
    """
    end, kept, where, free, tried, most = work
    places = len(order)
    nodes = len(problem.free)
    mask = len(thresholds) - 1
    for place in range(places):
        where[order[place]] = place
    free[0, :] = problem.free
    now, _ = follow(problem, order, 0, node, end, free, math.inf, tail)
    best = now
    best_order[:] = order
    best_node[:] = node
    most[0] = 0.0
    for place in range(places):
        kept[order[place]] = end[order[place]]
        most[place + 1] = max(most[place], end[order[place]])
    if places == 0:
        return best
    temperature = hot
    for _ in range(steps):
        if best <= enough:
            break
        temperature *= cooling
        x = draw(x)
        task = order[x % places]
        kind = (x >> 20) & 3
        x = draw(x)
        bound = now + temperature * thresholds[x & mask]
        old_node = node[task]
        old = where[task]
        new = old
        if kind != 0:  # another place
            low, high = 0, places - 1
            for at in range(problem.source_at[task], problem.source_at[task + 1]):
                if node[problem.source[at]] >= 0:
                    low = max(low, where[problem.source[at]] + 1)
            for at in range(problem.target_at[task], problem.target_at[task + 1]):
                if node[problem.target[at]] >= 0:
                    high = min(high, where[problem.target[at]] - 1)
            new = low + (x >> 12) % (high - low + 1)
        if kind != 1 and nodes > 1:  # another node
            x = draw(x)
            p = (x >> 3) % nodes
            if p == old_node or problem.times[task, p] == math.inf:
                continue
            node[task] = p
        elif new == old:
            continue
        if new != old:
            move(order, where, old, new)
        first = min(old, new)
        for q in range(nodes):
            tried[first, q] = free[first, q]
        found, stopped = follow(problem, order, first, node, end, tried, bound, tail)
        found = max(found, most[first])
        if found <= bound and found < math.inf:
            now = found
            for place in range(first, places):
                kept[order[place]] = end[order[place]]
                most[place + 1] = max(most[place], end[order[place]])
                for q in range(nodes):
                    free[place + 1, q] = tried[place + 1, q]
            if now < best:
                best = now
                best_order[:] = order
                best_node[:] = node
            continue
        for place in range(first, stopped):
            end[order[place]] = kept[order[place]]
        if new != old:
            move(order, where, new, old)
        node[task] = old_node
    return best


@compiled
def count_missing(problem, waiting, missing):
    """Of each waiting task, how many of its sources wait, -1 of the others."""
    for task in range(len(waiting)):
        missing[task] = -1
        if waiting[task]:
            missing[task] = 0
            for at in range(problem.source_at[task], problem.source_at[task + 1]):
                if waiting[problem.source[at]]:
                    missing[task] += 1


@compiled
def survey(problem, edge, waiting, ends, at_node, arrived, alive, free, now):
    """Write into ``release``, ``free`` and ``until`` of a problem what ``replan.State`` says.

    ``edge``: number of the edge of each of ``source``.
    """
    tasks, nodes = problem.times.shape
    for p in range(nodes):
        problem.free[p] = max(now, free[p])
        problem.until[p] = math.inf if alive[p] else -1.0
    for task in range(tasks):
        if not waiting[task]:
            continue
        for p in range(nodes):
            release = now
            for at in range(problem.source_at[task], problem.source_at[task + 1]):
                source = problem.source[at]
                if waiting[source]:
                    continue
                a = at_node[source]
                if a >= 0:  # runs
                    came = ends[source] + transfer(problem, problem.source_size[at], a, p)
                else:
                    e = edge[at]
                    came = arrived[e, p]
                    if came == math.inf:  # from where it can be soonest
                        for q in range(nodes):
                            if arrived[e, q] < math.inf and alive[q]:
                                hop = transfer(problem, problem.source_size[at], q, p)
                                came = min(came, max(now, arrived[e, q]) + hop)
                release = max(release, came)
            problem.release[task, p] = release
