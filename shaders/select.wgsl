// Second kernel of a training step: the thresholds of batch top-k, by radix select on bit patterns.
//
//   plan, state   see encode.wgsl
//   pre           [B, M]
//
// Workgroup 0 finds the (n K)-th largest |pre| of the batch (state[2]), workgroup 1 the n·min(2K, dead)-th largest
// among dead features (state[3]; nothing passes where none is dead). As in threshold.wgsl floats are compared as bits,
// so the answer is exact. Four passes over the values, eight bits each from the top.
@group(0) @binding(0) var<storage, read_write> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> pre: array<u32>;

const MAGNITUDE: u32 = 0x7fffffffu;
// No magnitude has the sign's bit.
const NOTHING: u32 = 0x80000000u;

var<workgroup> counts: array<atomic<u32>, 256>;
var<workgroup> above: array<u32, 256>;
// Bits found so far, and how many values with exactly these leading bits still have to be kept.
var<workgroup> found: u32;
var<workgroup> wanted: u32;
var<workgroup> candidates: atomic<u32>;
var<workgroup> idle: u32;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) worker: u32) {
    let features = plan[1];
    let count = plan[plan[9] + 4u * state[1] + 1u];
    let values = count * features;
    let dead_after = plan[4];
    let helping = group.x == 1u;
    if worker == 0u {
        idle = select(0u, 1u, helping && state[4] == 0u);
    }
    if workgroupUniformLoad(&idle) != 0u {
        if worker == 0u {
            state[3] = 0xffffffffu;
        }
        return;
    }
    if worker == 0u {
        found = 0u;
        wanted = count * select(plan[2], min(2u * plan[2], state[4]), helping);
        atomicStore(&candidates, select(values, 0u, helping));
    }
    workgroupBarrier();
    if helping {
        for (var m = worker; m < features; m += 256u) {
            if state[8u + m] >= dead_after {
                atomicAdd(&candidates, count);
            }
        }
    }
    workgroupBarrier();
    let keep = wanted;
    let among = atomicLoad(&candidates);
    workgroupBarrier();

    for (var digit = 0u; digit < 4u; digit++) {
        let shift = 24u - 8u * digit;
        atomicStore(&counts[worker], 0u);
        workgroupBarrier();
        var leading = 0u;
        if digit > 0u {
            leading = 0xffffffffu << (shift + 8u);
        }
        let prefix = found;
        for (var i = worker; i < values; i += 1024u) {
            // Four values are asked for before the first is looked at: their ways from memory overlap.
            var four = vec4<u32>(NOTHING);
            for (var j = 0u; j < 4u; j++) {
                let at = i + 256u * j;
                if at < values && (!helping || state[8u + at % features] >= dead_after) {
                    four[j] = pre[at] & MAGNITUDE;
                }
            }
            for (var j = 0u; j < 4u; j++) {
                if four[j] != NOTHING && (four[j] & leading) == prefix {
                    atomicAdd(&counts[(four[j] >> shift) & 255u], 1u);
                }
            }
        }
        workgroupBarrier();
        // above[d]: values whose digit is d or larger.
        above[worker] = atomicLoad(&counts[worker]);
        workgroupBarrier();
        for (var stride = 1u; stride < 256u; stride *= 2u) {
            var more = 0u;
            if worker + stride < 256u {
                more = above[worker + stride];
            }
            workgroupBarrier();
            above[worker] += more;
            workgroupBarrier();
        }
        let rest = wanted;
        var larger = 0u;
        if worker < 255u {
            larger = above[worker + 1u];
        }
        let here = above[worker];
        workgroupBarrier();
        if here >= rest && larger < rest {
            found = prefix | (worker << shift);
            wanted = rest - larger;
        }
        workgroupBarrier();
    }
    if worker == 0u {
        var threshold = found;
        if keep >= among {
            // Everything passes.
            threshold = 0u;
        }
        state[2u + group.x] = threshold;
    }
}
