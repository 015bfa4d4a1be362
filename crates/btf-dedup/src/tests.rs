//! Small sets of types, each with what must become of it. Names are numbers; strings do not matter here.

use crate::records::kind::*;
use crate::{Deduplicated, Error, Options, Types, dedup};

const OPTIONS: [Options; 4] =
    [options(false, false), options(false, true), options(true, false), options(true, true)];

/// As old libbpf or as one since 1.6; `collide` is for both.
const fn options(new: bool, collide: bool) -> Options {
    let (typedefs_by_graph, compare_in_depth, base_typedefs_unseen) = (new, new, new);
    Options { typedefs_by_graph, compare_in_depth, base_typedefs_unseen, collide }
}

fn info(kind: u32, vlen: u32, kflag: bool) -> u32 {
    u32::from(kflag) << 31 | kind << 24 | vlen
}

/// Types as a test writes them.
#[derive(Default, Clone)]
struct Set(Types);

impl Set {
    fn int(mut self, name: u32) -> Self {
        self.0.push(&[name, info(INT, 0, false), 4, 1 << 24 | 32]);
        self
    }
    fn reference(mut self, kind: u32, name: u32, target: u32) -> Self {
        self.0.push(&[name, info(kind, 0, false), target]);
        self
    }
    fn ptr(self, target: u32) -> Self {
        self.reference(PTR, 0, target)
    }
    fn forward(mut self, name: u32, union: bool) -> Self {
        self.0.push(&[name, info(FWD, 0, union), 0]);
        self
    }
    fn array(mut self, element: u32, index: u32, count: u32) -> Self {
        self.0.push(&[0, info(ARRAY, 0, false), 0, element, index, count]);
        self
    }
    fn composite(mut self, kind: u32, name: u32, size: u32, members: &[(u32, u32, u32)]) -> Self {
        let mut record = vec![name, info(kind, members.len() as u32, false), size];
        record.extend(members.iter().flat_map(|&(name, ty, bits)| [name, ty, bits]));
        self.0.push(&record);
        self
    }
    fn structure(self, name: u32, size: u32, members: &[(u32, u32, u32)]) -> Self {
        self.composite(STRUCT, name, size, members)
    }
    fn enumeration(mut self, kind: u32, name: u32, size: u32, values: &[u32]) -> Self {
        let mut record = vec![name, info(kind, values.len() as u32, false), size];
        for &value in values {
            record.extend([value, value]);
            if kind == ENUM64 {
                record.push(0);
            }
        }
        self.0.push(&record);
        self
    }
    fn proto(mut self, ret: u32, params: &[(u32, u32)]) -> Self {
        let mut record = vec![0, info(FUNC_PROTO, params.len() as u32, false), ret];
        record.extend(params.iter().flat_map(|&(name, ty)| [name, ty]));
        self.0.push(&record);
        self
    }
    fn tag(mut self, value: u32, target: u32, component: i32) -> Self {
        self.0.push(&[value, info(DECL_TAG, 0, false), target, component as u32]);
        self
    }

    /// The new number of each type, under every set of options.
    fn map(&self, options: &Options) -> Vec<u32> {
        self.run(options).map
    }

    fn run(&self, options: &Options) -> Deduplicated {
        dedup(&Types::default(), self.0.clone(), options).unwrap()
    }

    fn check(&self, expected: &[u32]) {
        for options in &OPTIONS {
            assert_eq!(self.map(options)[1..], *expected, "{options:?}");
        }
    }
}

#[test]
fn equal_integers_are_one_and_the_first_is_kept() {
    Set::default().int(1).int(1).int(2).check(&[1, 1, 2]);
}

#[test]
fn a_cycle_in_two_units_is_one() {
    // struct s { struct s *next; }, twice.
    let unit = |set: Set, first: u32| set.structure(1, 8, &[(2, first + 1, 0)]).ptr(first);
    unit(unit(Set::default(), 1), 3).check(&[1, 2, 1, 2]);
}

#[test]
fn a_forward_declaration_stands_for_the_structure_that_it_meets() {
    // struct a { struct b *p; }: in the first unit b is declared only.
    Set::default()
        .structure(1, 8, &[(9, 2, 0)])
        .ptr(3)
        .forward(2, false)
        .structure(1, 8, &[(9, 5, 0)])
        .ptr(6)
        .structure(2, 4, &[])
        .check(&[1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_forward_declaration_alone_stands_for_the_one_structure_of_its_name() {
    Set::default().forward(1, false).ptr(1).structure(1, 4, &[]).ptr(3).check(&[2, 1, 2, 1]);
}

#[test]
fn a_forward_declaration_of_an_ambiguous_name_or_of_a_union_stays() {
    let two = Set::default().forward(1, false).structure(1, 4, &[]).structure(1, 8, &[]);
    two.check(&[1, 2, 3]);
    Set::default().forward(1, true).structure(1, 4, &[]).check(&[1, 2]);
}

#[test]
fn structures_that_differ_behind_a_pointer_differ() {
    Set::default()
        .int(1)
        .ptr(1)
        .structure(5, 8, &[(9, 2, 0)])
        .int(2)
        .ptr(4)
        .structure(5, 8, &[(9, 5, 0)])
        .check(&[1, 2, 3, 4, 5, 6]);
}

#[test]
fn empty_structures_are_one_by_name() {
    let set = Set::default().structure(1, 0, &[]).structure(1, 0, &[]).structure(2, 0, &[]);
    set.check(&[1, 1, 2]);
}

#[test]
fn bitfields_of_other_places_make_other_structures() {
    let set = Set::default()
        .int(1)
        .structure(2, 4, &[(3, 1, 3 << 24)])
        .structure(2, 4, &[(3, 1, 3 << 24 | 1)])
        .structure(2, 4, &[(3, 1, 3 << 24)]);
    set.check(&[1, 2, 3, 2]);
}

#[test]
fn identical_structures_in_one_unit_stand_for_one() {
    // The second unit has the structure that both members have twice.
    Set::default()
        .int(1)
        .structure(2, 4, &[(3, 1, 0)])
        .structure(4, 8, &[(5, 2, 0), (6, 2, 32)])
        .int(1)
        .structure(2, 4, &[(3, 4, 0)])
        .structure(2, 4, &[(3, 4, 0)])
        .structure(4, 8, &[(5, 5, 0), (6, 6, 32)])
        .check(&[1, 2, 3, 1, 2, 2, 3]);
}

#[test]
fn identical_arrays_in_one_unit_stand_for_one() {
    Set::default()
        .int(1)
        .array(1, 1, 4)
        .structure(4, 32, &[(5, 2, 0), (6, 2, 128)])
        .int(1)
        .array(4, 4, 4)
        .array(4, 4, 4)
        .structure(4, 32, &[(5, 5, 0), (6, 6, 128)])
        .check(&[1, 2, 3, 1, 2, 2, 3]);
}

#[test]
fn enumerations_that_are_only_declared_are_completed_whichever_comes_first() {
    Set::default().enumeration(ENUM, 1, 4, &[]).enumeration(ENUM, 1, 4, &[7]).check(&[1, 1]);
    Set::default().enumeration(ENUM, 1, 4, &[7]).enumeration(ENUM, 1, 4, &[]).check(&[1, 1]);
    Set::default().enumeration(ENUM, 1, 4, &[]).enumeration(ENUM64, 1, 8, &[7]).check(&[1, 1]);
    Set::default().enumeration(ENUM, 1, 4, &[6]).enumeration(ENUM, 1, 4, &[7]).check(&[1, 2]);
}

#[test]
fn type_tags_make_pointers_differ() {
    let tagged = |set: Set, int: u32, tag: u32| set.reference(TYPE_TAG, tag, int).ptr(int + tag);
    let set =
        Set::default().int(1).reference(TYPE_TAG, 7, 1).ptr(2).reference(TYPE_TAG, 8, 1).ptr(4);
    set.clone().check(&[1, 2, 3, 4, 5]);
    set.reference(TYPE_TAG, 7, 1).ptr(6).check(&[1, 2, 3, 4, 5, 2, 3]);
    tagged(Set::default().int(9), 1, 1).check(&[1, 2, 3]);
}

#[test]
fn declaration_tags_go_by_what_they_tag_and_where() {
    Set::default()
        .structure(1, 4, &[(2, 0, 0)])
        .structure(1, 4, &[(2, 0, 0)])
        .tag(5, 1, -1)
        .tag(5, 2, -1)
        .tag(5, 2, 0)
        .check(&[1, 1, 2, 2, 3]);
}

#[test]
fn prototypes_go_by_the_names_of_parameters_too() {
    let set = Set::default().int(1).proto(1, &[(2, 1)]).proto(1, &[(3, 1)]).proto(1, &[(2, 1)]);
    set.check(&[1, 2, 3, 2]);
}

#[test]
fn of_equal_references_the_one_that_is_reached_first_is_kept() {
    // The pointer refers to the second `const int`, which is therefore decided on before the first.
    let set = Set::default().ptr(4).reference(CONST, 0, 3).int(1).reference(CONST, 0, 3);
    set.check(&[1, 3, 2, 3]);
}

#[test]
fn variables_and_sections_are_never_put_together() {
    let mut set = Set::default().int(1);
    set.0.push(&[2, info(VAR, 0, false), 1, 0]);
    set.0.push(&[2, info(VAR, 0, false), 1, 0]);
    set.check(&[1, 2, 3]);
}

#[test]
fn types_of_a_base_are_taken_and_not_changed() {
    let base = Set::default().int(1).ptr(1).forward(5, false).ptr(3).0;
    let split = Set::default().int(1).ptr(5).structure(5, 4, &[]).ptr(7).0;
    for options in &OPTIONS {
        let done = dedup(&base, split.clone(), options).unwrap();
        assert_eq!(done.map[5..], [1, 2, 5, 6], "{options:?}");
        assert_eq!(done.types.len(), 2);
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    let options = Options::default();
    let run = |set: Set| dedup(&Types::default(), set.0, &options).unwrap_err();
    assert_eq!(run(Set::default().ptr(2).ptr(1)), Error::Loop(1));
    assert_eq!(run(Set::default().ptr(9)), Error::Dangling { id: 1, target: 9 });
    assert_eq!(run(Set::default().reference(31, 0, 0)), Error::Kind { id: 1, kind: 31 });
}

#[test]
fn a_chain_of_a_million_references_is_no_trouble() {
    let mut set = Set::default().int(1);
    for target in 1..1_000_000 {
        set = set.ptr(target);
    }
    assert_eq!(set.run(&Options::default()).types.len(), 1_000_000);
}

#[test]
fn units_in_any_order_give_as_many_types() {
    // Three units that know more and less of two structures that refer to each other.
    let units: [fn(Set) -> Set; 3] = [
        |set| {
            let at = set.0.len() as u32;
            set.structure(1, 8, &[(9, at + 2, 0)]).ptr(at + 3).forward(2, false)
        },
        |set| {
            let at = set.0.len() as u32;
            set.structure(2, 8, &[(9, at + 2, 0)]).ptr(at + 3).forward(1, false)
        },
        |set| {
            let at = set.0.len() as u32;
            let set = set.structure(1, 8, &[(9, at + 2, 0)]).ptr(at + 3);
            set.structure(2, 8, &[(9, at + 4, 0)]).ptr(at + 1)
        },
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let set = order.iter().fold(Set::default(), |set, &unit| units[unit](set));
        for options in &OPTIONS {
            assert_eq!(set.run(options).types.len(), 4, "{order:?} {options:?}");
        }
    }
}

#[test]
fn typedefs_of_a_base_are_found_but_for_the_two_versions_that_cannot() {
    let base = Set::default().int(1).reference(TYPEDEF, 5, 1).0;
    let split = Set::default().reference(TYPEDEF, 5, 1).0;
    let left = |options| dedup(&base, split.clone(), &options).unwrap().types.len();
    assert_eq!(left(Options::libbpf_1_1()), 0);
    assert_eq!(left(Options::libbpf_1_7()), 1);
    assert_eq!(left(Options::libbpf_1_8()), 0);
}

#[test]
fn nothing_is_put_together_with_void() {
    // A pointer to void and one to a structure without a name are not one.
    Set::default().ptr(0).structure(0, 4, &[]).ptr(2).ptr(0).check(&[1, 2, 3, 1]);
}

#[test]
fn of_every_kind_two_that_differ_stay_two() {
    let mut set = Set::default().int(1).int(2).ptr(1).ptr(2).array(1, 1, 2).array(1, 1, 3);
    set = set.structure(1, 4, &[]).structure(2, 4, &[]).forward(3, false).forward(3, true);
    set = set.enumeration(ENUM, 4, 4, &[1]).enumeration(ENUM, 5, 4, &[1]);
    set = set.enumeration(ENUM64, 6, 8, &[1]).enumeration(ENUM64, 7, 8, &[1]);
    for kind in [TYPEDEF, CONST, VOLATILE, RESTRICT, TYPE_TAG] {
        set = set.reference(kind, 8, 1).reference(kind, 8, 2);
    }
    set = set.proto(1, &[(1, 1)]).proto(1, &[(1, 2)]);
    let count = set.0.len() as u32;
    set.check(&(1..=count).collect::<Vec<_>>());
}

#[test]
fn tags_of_functions_and_parameters_go_with_their_functions() {
    let unit = |set: Set| {
        let at = set.0.len() as u32;
        let set = set.int(1).proto(at + 1, &[(2, at + 1)]).reference(FUNC, 3, at + 2);
        set.tag(7, at + 3, -1).tag(7, at + 3, 0).tag(8, at + 3, -1)
    };
    unit(unit(Set::default())).check(&[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn in_a_split_a_structure_of_the_base_is_found_through_its_graph() {
    // Base: struct 1 { struct 2 *m; }, struct 2. Split: the same, struct 2 only declared.
    let base = Set::default().structure(1, 8, &[(9, 2, 0)]).ptr(3).structure(2, 4, &[]).0;
    let split = Set::default().structure(1, 8, &[(9, 5, 0)]).ptr(6).forward(2, false).0;
    for options in &OPTIONS {
        let done = dedup(&base, split.clone(), options).unwrap();
        assert_eq!(done.map[4..], [1, 2, 3], "{options:?}");
        assert_eq!(done.types.len(), 0);
    }
}

#[test]
fn in_a_split_an_ambiguous_declaration_stays() {
    let base = Set::default().structure(1, 4, &[]).0;
    let split = Set::default().structure(1, 8, &[]).forward(1, false).ptr(3).0;
    for options in &OPTIONS {
        let done = dedup(&base, split.clone(), options).unwrap();
        assert_eq!(done.types.len(), 3, "{options:?}");
    }
}

/// What the types look like whatever their numbers are: a hash of each by all that it refers to, sorted.
fn shape(types: &Types) -> Vec<u64> {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let of = |colours: &[u64], id: u32| id.checked_sub(1).map_or(7, |at| colours[at as usize]);
    let mut colours = vec![1; types.len()];
    for _ in 0..types.len() {
        let colour = |at: usize| {
            let record = types.record(at);
            let hash = mix(mix(1, u64::from(record[0])), u64::from(record[1]));
            match record[1] >> 24 & 0x1f {
                STRUCT => record[3..].chunks(3).fold(hash, |hash, member| {
                    mix(mix(hash, of(&colours, member[1])), u64::from(member[2]))
                }),
                PTR => mix(hash, of(&colours, record[2])),
                _ => hash,
            }
        };
        colours = (0..types.len()).map(colour).collect();
    }
    colours.sort_unstable();
    colours
}

#[test]
fn units_in_any_order_give_the_same_graph() {
    // Structures 1 to 4, each referring to the next in a ring; each unit defines some of them.
    let unit = |set: Set, defined: u32| {
        let at = set.0.len() as u32;
        (0..4u32).fold(set, |set, number| {
            let next = at + 2 * ((number + 1) % 4) + 2;
            let set = match defined >> number & 1 {
                1 => set.structure(number + 1, 8, &[(9, next, 0)]),
                _ => set.forward(number + 1, false),
            };
            set.ptr(at + 2 * number + 1)
        })
    };
    let units = [0b0011, 0b0110, 0b1100, 0b1001, 0b1111];
    for options in &OPTIONS {
        let run = |order: &[u32]| {
            let set = order.iter().fold(Set::default(), |set, &defined| unit(set, defined));
            shape(&set.run(options).types)
        };
        let first = run(&units);
        assert_eq!(first.len(), 8, "{options:?}");
        for turn in 0..units.len() {
            let mut order = units;
            order.rotate_left(turn);
            assert_eq!(run(&order), first, "{order:?} {options:?}");
            order.reverse();
            assert_eq!(run(&order), first, "{order:?} {options:?}");
        }
    }
}
