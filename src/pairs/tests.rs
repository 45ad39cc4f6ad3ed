//! Reading as the user meets it: files in, pairs or one clear message out.

use super::*;

#[test]
fn the_smallest_csv_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, "prompt,response_A,response_B,label\nq,one two,three,1\nq,three,one two,0\n")
        .unwrap();
    let (pairs, report) = read(&path.to_string_lossy(), &ReadOptions::default()).unwrap();
    assert_eq!((pairs.pair_id.len(), report.pairs_used), (1, 1));
    assert_eq!(report.dropped.get("duplicate"), Some(&1));
    assert_eq!(split(&pairs, [0.35, 0.2, 0.45], 1).unwrap().0, [Side::HeldOut]);
}
