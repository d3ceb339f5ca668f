//! The table of all methods and the grant that each requires. Any other method fails with `METHOD_UNKNOWN`.

use crate::model::caller::Grant;

/// The service a method belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Session,
    User,
    Attribute,
    Audit,
    Definition,
    LinkedAuth,
}

/// A method that [`super::fast_path`] can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastMethod {
    Verify,
    BatchVerify,
    ListLinks,
}

/// Batch requests may be this many times the limit.
pub(crate) const BATCH_FACTOR: usize = 4;

/// One RPC.
#[derive(Debug)]
pub struct Method {
    /// `/package.Service/Method`, as in the request.
    pub path: &'static str,
    pub service: Service,
    pub grant: Grant,
    /// Called on every request of every user: answered from the caches if possible, and its log span is at DEBUG.
    pub fast: Option<FastMethod>,
    /// Its request size limit is multiplied by `BATCH_FACTOR`.
    pub is_batch: bool,
}

impl Method {
    const fn new(service: Service, path: &'static str, grant: Grant) -> Self {
        Self { path, service, grant, fast: None, is_batch: false }
    }

    const fn fast(self, fast: FastMethod) -> Self {
        Self { fast: Some(fast), ..self }
    }

    const fn batch(self) -> Self {
        Self { is_batch: true, ..self }
    }

    /// Factor of `server.max_request_bytes`.
    pub(crate) const fn size_factor(&self) -> usize {
        if self.is_batch { BATCH_FACTOR } else { 1 }
    }

    /// `Service/Method`, for display.
    pub fn name(&self) -> &'static str {
        self.path.strip_prefix("/lanyard.v1.").unwrap_or(self.path)
    }

    /// The index in [`METHODS`] and the method. Methods with a fast path come first, so the scan is short.
    pub(crate) fn find(path: &str) -> Option<(usize, &'static Self)> {
        METHODS.iter().enumerate().find(|(_, method)| method.path == path)
    }
}

macro_rules! methods {
    ($($service:ident / $name:ident: $grant:ident $(.$mark:ident($($argument:expr)?))*;)*) => {
        &[$(Method::new(
            Service::$service,
            concat!("/lanyard.v1.", stringify!($service), "Service/", stringify!($name)),
            Grant::$grant,
        )$(.$mark($($argument)?))*),*]
    };
}

/// Every method and its grant.
pub static METHODS: &[Method] = methods! {
    Session/VerifySession: SessionVerify.fast(FastMethod::Verify);
    Session/BatchVerifySessions: SessionVerify.fast(FastMethod::BatchVerify).batch();
    LinkedAuth/ListLinkedAuth: LinkRead.fast(FastMethod::ListLinks);
    Session/CreateSession: SessionCreate;
    Session/GetSession: SessionRead;
    Session/ListSessions: SessionRead;
    Session/RenewSession: SessionWrite;
    Session/RevokeSession: SessionWrite;
    Session/RevokeSessions: SessionWrite;
    Session/GetPlatformAuth: PlatformAuth;
    User/GetCurrentUser: UserSelf;
    User/ChangePassword: UserSelf;
    User/EnrollTotp: UserSelf;
    User/ConfirmTotp: UserSelf;
    User/GetUser: UserRead;
    User/ListUsers: UserRead;
    User/CreateUser: UserWrite;
    User/UpdateUser: UserWrite;
    User/DeleteUser: UserWrite;
    User/LockUser: UserWrite;
    User/UnlockUser: UserWrite;
    User/ApproveUser: UserWrite;
    User/RejectUser: UserWrite;
    User/SetPassword: UserWrite;
    User/DisableTotp: UserWrite;
    Attribute/SetAttributes: AttributeWrite;
    Attribute/DeleteAttributes: AttributeWrite;
    Attribute/ListAttributes: AttributeRead;
    Audit/ListAuditEvents: AuditRead;
    LinkedAuth/LookupLinkedAuth: LinkLookup;
    LinkedAuth/CreateLinkedAuth: LinkWrite;
    LinkedAuth/UpdateLinkedAuth: LinkWrite;
    LinkedAuth/DeleteLinkedAuth: LinkWrite;
    Definition/GetDefinition: DefinitionRead;
    Definition/ListDefinitions: DefinitionRead;
    Definition/CreateDefinition: DefinitionWrite;
    Definition/UpdateDefinition: DefinitionWrite;
    Definition/DeleteDefinition: DefinitionWrite;
    Definition/RotateDefinitionSecret: DefinitionWrite;
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// A new RPC must get a grant before it can be called, and a removed one must not leave its grant behind.
    #[test]
    fn the_table_is_the_contract_row_for_row() {
        let set = FileDescriptorSet::decode(lanyard_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
        let mut contract = BTreeSet::new();
        for file in set.file.iter().filter(|file| file.package().starts_with("lanyard.")) {
            for service in &file.service {
                for method in &service.method {
                    contract.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let table: BTreeSet<String> = METHODS.iter().map(|method| method.path.to_owned()).collect();
        assert_eq!(table, contract);
        assert_eq!(table.len(), METHODS.len(), "a method stands here once");
    }

    #[test]
    fn a_method_is_found_by_its_path_and_nothing_else() {
        for (i, method) in METHODS.iter().enumerate() {
            assert_eq!(Method::find(method.path).map(|(found, _)| found), Some(i));
        }
        for path in ["", "/", "/lanyard.v1.SessionService/", "/lanyard.v1.SessionService/verifysession"] {
            assert!(Method::find(path).is_none(), "{path}");
        }
    }
}
