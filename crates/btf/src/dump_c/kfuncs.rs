//! Prototypes of the kernel functions that BPF programs may call.

use super::{Dump, DumpError};
use crate::{Btf, Kind, TypeId};

impl Dump<'_> {
    /// Writes the functions that are tagged `bpf_kfunc`, by name.
    pub(super) fn kfuncs(&mut self) -> Result<(), DumpError> {
        let mut kfuncs = tagged(self.btf, b"bpf_kfunc");
        let fastcalls = tagged(self.btf, b"bpf_fastcall");
        kfuncs.sort_by_key(|&(name, _, _)| name);
        self.text("\n/* BPF kfuncs */\n#ifndef BPF_NO_KFUNC_PROTOTYPES\n");
        for (name, func, proto) in kfuncs {
            self.text("extern ");
            if fastcalls.iter().any(|&(_, fastcall, _)| fastcall == func) {
                self.text("__bpf_fastcall ");
            }
            self.declare(proto, name, 0, 0)?;
            self.text(" __weak __ksym;\n");
        }
        self.text("#endif\n\n");
        Ok(())
    }
}

/// Functions that carry `tag` as a whole: name, id and prototype.
fn tagged<'d>(btf: &Btf<'d>, tag: &[u8]) -> Vec<(&'d [u8], TypeId, TypeId)> {
    let base = btf.base();
    let types = base.iter().flat_map(|base| base.types()).chain(btf.types());
    let tags = types.filter(|(_, ty)| ty.kind == Kind::DeclTag && ty.component_idx() == Some(-1));
    tags.filter(|(_, ty)| btf.name(ty.name_off).is_ok_and(|name| name == tag))
        .filter_map(|(_, ty)| {
            let id = ty.type_id()?;
            let func = btf.get(id).filter(|func| func.kind == Kind::Func)?;
            Some((btf.name(func.name_off).ok()?, id, func.type_id()?))
        })
        .collect()
}
