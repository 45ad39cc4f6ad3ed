// The gradient of gate.wgsl: it flows where a value passed and stops elsewhere.
//
//   gradient  [n]   with respect to the gate's output
//   kept      [n]   the gate's output
//   info      [1]   n
//   out       [n]   the gradient where kept is not zero, else 0
@group(0) @binding(0) var<storage, read_write> gradient: array<u32>;
@group(0) @binding(1) var<storage, read_write> kept: array<u32>;
@group(0) @binding(2) var<storage, read_write> info: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) worker: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + worker;
    if i >= info[0] {
        return;
    }
    out[i] = select(0u, gradient[i], (kept[i] & 0x7fffffffu) != 0u);
}
