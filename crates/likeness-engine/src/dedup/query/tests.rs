use super::*;

#[test]
fn limits_are_checked() {
    assert!(check_limit(0).is_err());
    assert!(check_limit(500).is_ok());
    assert!(check_limit(501).is_err());
}
