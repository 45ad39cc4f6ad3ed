// Radix select: the magnitude of the `keep`-th largest value, as its bits.
//
//   values     [n]   any f32, read as bits
//   threshold  [1]   out: bits of the keep-th largest |value|
//   info       [2]   n, keep (1 <= keep <= n)
//
// Without its sign bit a float's pattern orders like its magnitude, so no float is ever compared:
// the answer is exact, ties and infinities need no care, and NaN ranks above infinity, which lets
// it through to the loss where it is reported. One workgroup walks the values four times, eight
// bits at a time from the top; a batch has some 10,000 values, too few to be worth a second one.
@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> threshold: array<u32>;
@group(0) @binding(2) var<storage, read_write> info: array<u32>;

const WORKERS: u32 = 256u;
const MAGNITUDE: u32 = 0x7fffffffu;

var<workgroup> counts: array<atomic<u32>, 256>;
// Bits found so far, and how many values with exactly these leading bits still have to be kept.
var<workgroup> found: u32;
var<workgroup> wanted: u32;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(local_invocation_index) worker: u32) {
    let n = info[0];
    if worker == 0u {
        found = 0u;
        wanted = info[1];
    }
    for (var digit_index = 0u; digit_index < 4u; digit_index++) {
        let shift = 24u - 8u * digit_index;
        atomicStore(&counts[worker], 0u);
        workgroupBarrier();

        // Every bit above this digit; none the first time.
        var above = 0u;
        if digit_index > 0u {
            above = 0xffffffffu << (shift + 8u);
        }
        for (var i = worker; i < n; i += WORKERS) {
            let bits = values[i] & MAGNITUDE;
            if (bits & above) == found {
                atomicAdd(&counts[(bits >> shift) & 255u], 1u);
            }
        }
        workgroupBarrier();

        if worker == 0u {
            var rest = wanted;
            var digit = 255u;
            var here = atomicLoad(&counts[digit]);
            while here < rest && digit > 0u {
                rest -= here;
                digit -= 1u;
                here = atomicLoad(&counts[digit]);
            }
            wanted = rest;
            found = found | (digit << shift);
        }
        workgroupBarrier();
    }
    if worker == 0u {
        threshold[0] = found;
    }
}
