//! OpenMLS behind a line protocol: one JSON object a line in, one out (tests/interop/mls/peers.py).
//!
//! A process holds any number of clients by name, each with one group. Answers say how
//! much of a core the library used (`seconds`), so that the benchmark measures it without the pipe.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use openmls::prelude::{tls_codec::*, *};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider;
use serde_json::{json, Value};

type Answer = Result<Value, String>;

struct Client {
    provider: OpenMlsRustCrypto,
    suite: Ciphersuite,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    public: bool,
    group: Option<MlsGroup>,
}

/// What this process has used of a core, its pool's threads counted: a busy machine changes little.
fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local value that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn wrong<E: std::fmt::Debug>(error: E) -> String {
    format!("{error:?}")
}

fn bytes(request: &Value, name: &str) -> Result<Vec<u8>, String> {
    let text = request[name].as_str().ok_or(format!("{name} is missing"))?;
    hex::decode(text).map_err(wrong)
}

fn list<'a>(request: &'a Value, name: &str) -> Vec<&'a Value> {
    request[name].as_array().map(|all| all.iter().collect()).unwrap_or_default()
}

fn message(raw: &[u8]) -> Result<MlsMessageIn, String> {
    MlsMessageIn::tls_deserialize_exact(raw).map_err(wrong)
}

fn encoded<T: Serialize>(value: &T) -> Result<String, String> {
    Ok(hex::encode(value.tls_serialize_detached().map_err(wrong)?))
}

impl Client {
    fn new(name: &str, suite: Ciphersuite, public: bool) -> Result<Self, String> {
        let signer = SignatureKeyPair::new(suite.signature_algorithm()).map_err(wrong)?;
        let provider = OpenMlsRustCrypto::default();
        signer.store(provider.storage()).map_err(wrong)?;
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name.as_bytes().to_vec()).into(),
            signature_key: signer.to_public_vec().into(),
        };
        Ok(Client { provider, suite, signer, credential, public, group: None })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(
            None,
            Some(&[self.suite]),
            None,
            None,
            Some(&[CredentialType::Basic, CredentialType::X509]),
        )
    }

    fn policy(&self) -> WireFormatPolicy {
        if self.public {
            MIXED_PLAINTEXT_WIRE_FORMAT_POLICY
        } else {
            MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY
        }
    }

    fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(self.policy())
            .max_past_epochs(2)
            .use_ratchet_tree_extension(true)
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(1024, 4096))
            .build()
    }

    fn group(&mut self) -> Result<&mut MlsGroup, String> {
        self.group.as_mut().ok_or("no group".to_string())
    }

    /// A member that comes back has to forget the group that it was removed from.
    fn forget(&mut self) -> Result<(), String> {
        match self.group.take() {
            Some(mut old) => old.delete(self.provider.storage()).map_err(wrong),
            None => Ok(()),
        }
    }

    fn key_package(&self) -> Answer {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(self.capabilities())
            .build(self.suite, &self.provider, &self.signer, self.credential.clone())
            .map_err(wrong)?;
        let out = MlsMessageOut::from(bundle.key_package().clone());
        Ok(json!({"message": encoded(&out)?}))
    }

    fn create(&mut self, request: &Value) -> Answer {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(&bytes(request, "group_id")?))
            .ciphersuite(self.suite)
            .with_capabilities(self.capabilities())
            .with_wire_format_policy(self.policy())
            .max_past_epochs(2)
            .use_ratchet_tree_extension(true)
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(1024, 4096))
            .build(&self.provider, &self.signer, self.credential.clone())
            .map_err(wrong)?;
        self.group = Some(group);
        Ok(json!({}))
    }

    fn join(&mut self, request: &Value) -> Answer {
        self.forget()?;
        let raw = bytes(request, "welcome")?;
        let tree = match request["tree"].as_str() {
            Some(text) => {
                let raw = hex::decode(text).map_err(wrong)?;
                Some(RatchetTreeIn::tls_deserialize_exact(&raw).map_err(wrong)?)
            }
            None => None,
        };
        let started = cpu_seconds();
        let MlsMessageBodyIn::Welcome(welcome) = message(&raw)?.extract() else {
            return Err("not a Welcome".into());
        };
        let staged =
            StagedWelcome::new_from_welcome(&self.provider, &self.join_config(), welcome, tree)
                .map_err(wrong)?;
        let group = staged.into_group(&self.provider).map_err(wrong)?;
        let seconds = cpu_seconds() - started;
        self.group = Some(group);
        Ok(json!({"seconds": seconds}))
    }

    fn psk_id(&self, raw: &[u8]) -> Result<PreSharedKeyId, String> {
        let psk = Psk::External(ExternalPsk::new(raw.to_vec()));
        PreSharedKeyId::new(self.suite, self.provider.rand(), psk).map_err(wrong)
    }

    fn commit(&mut self, request: &Value) -> Answer {
        let mut added = Vec::new();
        for one in list(request, "add") {
            let raw = hex::decode(one.as_str().unwrap_or("")).map_err(wrong)?;
            let MlsMessageBodyIn::KeyPackage(package) = message(&raw)?.extract() else {
                return Err("not a key package".into());
            };
            let package = package
                .validate(self.provider.crypto(), ProtocolVersion::Mls10)
                .map_err(wrong)?;
            added.push(package);
        }
        let removed: Vec<_> = list(request, "remove")
            .iter()
            .map(|one| LeafNodeIndex::new(one.as_u64().unwrap_or(0) as u32))
            .collect();
        let mut psks = Vec::new();
        for one in list(request, "psks") {
            let raw = hex::decode(one.as_str().unwrap_or("")).map_err(wrong)?;
            psks.push(Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.psk_id(&raw)?))));
        }
        let Client { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let started = cpu_seconds();
        let bundle = group
            .commit_builder()
            .consume_proposal_store(true)
            .force_self_update(true)
            .propose_adds(added)
            .propose_removals(removed)
            .add_proposals(psks)
            .load_psks(provider.storage())
            .map_err(wrong)?
            .build(provider.rand(), provider.crypto(), signer, |_| true)
            .map_err(wrong)?
            .stage_commit(provider)
            .map_err(wrong)?;
        let seconds = cpu_seconds() - started;
        let (commit, welcome, _) = bundle.into_messages();
        let welcome = match welcome {
            Some(one) => Some(encoded(&one)?),
            None => None,
        };
        Ok(json!({"message": encoded(&commit)?, "welcome": welcome, "seconds": seconds}))
    }

    fn merge(&mut self) -> Answer {
        let Client { provider, group, .. } = self;
        group.as_mut().ok_or("no group")?.merge_pending_commit(provider).map_err(wrong)?;
        Ok(json!({}))
    }

    fn drop_commit(&mut self) -> Answer {
        let Client { provider, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        group.clear_pending_commit(provider.storage()).map_err(wrong)?;
        Ok(json!({}))
    }

    fn propose(&mut self, request: &Value) -> Answer {
        let kind = request["kind"].as_str().unwrap_or("").to_string();
        let psk = match kind.as_str() {
            "psk" => Some(self.psk_id(&bytes(request, "id")?)?),
            _ => None,
        };
        let package = match kind.as_str() {
            "add" => {
                let MlsMessageBodyIn::KeyPackage(package) =
                    message(&bytes(request, "key_package")?)?.extract()
                else {
                    return Err("not a key package".into());
                };
                Some(
                    package
                        .validate(self.provider.crypto(), ProtocolVersion::Mls10)
                        .map_err(wrong)?,
                )
            }
            _ => None,
        };
        let Client { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let out = match kind.as_str() {
            "update" => {
                group
                    .propose_self_update(provider, signer, LeafNodeParameters::default())
                    .map_err(wrong)?
                    .0
            }
            "remove" => {
                let leaf = LeafNodeIndex::new(request["leaf"].as_u64().unwrap_or(0) as u32);
                group.propose_remove_member(provider, signer, leaf).map_err(wrong)?.0
            }
            "add" => {
                let package = package.ok_or("no key package")?;
                group.propose_add_member(provider, signer, &package).map_err(wrong)?.0
            }
            "psk" => {
                let psk = psk.ok_or("no psk")?;
                group.propose_pre_shared_key(provider, signer, psk).map_err(wrong)?.0
            }
            _ => return Err(format!("unknown kind {kind}")),
        };
        Ok(json!({"message": encoded(&out)?}))
    }

    fn process(&mut self, request: &Value) -> Answer {
        let raw = bytes(request, "message")?;
        let merge = request["merge"].as_bool().unwrap_or(true);
        let Client { provider, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let started = cpu_seconds();
        let parsed = message(&raw)?.try_into_protocol_message().map_err(wrong)?;
        let processed = group.process_message(provider, parsed).map_err(wrong)?;
        let sender = match processed.sender() {
            Sender::Member(index) => Some(index.u32()),
            _ => None,
        };
        let answer = match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(data) => {
                json!({"kind": "application", "data": hex::encode(data.into_bytes())})
            }
            ProcessedMessageContent::ProposalMessage(proposal) => {
                if merge {
                    group.store_pending_proposal(provider.storage(), *proposal).map_err(wrong)?;
                }
                json!({"kind": "proposal"})
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                if merge {
                    group.merge_staged_commit(provider, *staged).map_err(wrong)?;
                }
                json!({"kind": "commit"})
            }
            _ => return Err("another kind of content".into()),
        };
        let mut answer = answer;
        answer["seconds"] = json!(cpu_seconds() - started);
        answer["sender"] = json!(sender);
        Ok(answer)
    }

    /// The same message for as long as it lasts: how many a second are protected.
    fn protect(&mut self, request: &Value) -> Answer {
        let data = bytes(request, "data")?;
        let n = request["times"].as_u64().unwrap_or(1);
        let Client { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let mut out = Vec::new();
        let started = cpu_seconds();
        for _ in 0..n {
            let made = group.create_message(provider, signer, &data).map_err(wrong)?;
            out.push(made.tls_serialize_detached().map_err(wrong)?);
        }
        let seconds = cpu_seconds() - started;
        let out: Vec<_> = out.iter().map(hex::encode).collect();
        Ok(json!({"message": out[0], "messages": out, "seconds": seconds}))
    }

    fn process_all(&mut self, request: &Value) -> Answer {
        let mut raws = Vec::new();
        for one in list(request, "messages") {
            raws.push(hex::decode(one.as_str().unwrap_or("")).map_err(wrong)?);
        }
        let Client { provider, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let started = cpu_seconds();
        for raw in &raws {
            let parsed = message(raw)?.try_into_protocol_message().map_err(wrong)?;
            group.process_message(provider, parsed).map_err(wrong)?;
        }
        Ok(json!({"seconds": cpu_seconds() - started}))
    }

    fn state(&mut self) -> Answer {
        let Client { provider, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let members: Vec<_> = group.members().map(|one| one.index.u32()).collect();
        let exporter = group
            .export_secret(provider.crypto(), "interop", b"context", 32)
            .map(hex::encode)
            .unwrap_or_default();
        Ok(json!({
            "epoch": group.epoch().as_u64(),
            "authenticator": hex::encode(group.epoch_authenticator().as_slice()),
            "exporter": exporter,
            "members": members,
            "leaf": group.own_leaf_index().u32(),
            "active": group.is_active(),
        }))
    }

    fn group_info(&mut self) -> Answer {
        let Client { provider, signer, group, .. } = self;
        let group = group.as_mut().ok_or("no group")?;
        let info = group.export_group_info(provider.crypto(), signer, true).map_err(wrong)?;
        Ok(json!({"message": encoded(&info)?}))
    }

    fn external(&mut self, request: &Value) -> Answer {
        self.forget()?;
        let MlsMessageBodyIn::GroupInfo(info) = message(&bytes(request, "group_info")?)?.extract()
        else {
            return Err("not a group info".into());
        };
        let parameters =
            LeafNodeParameters::builder().with_capabilities(self.capabilities()).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(self.join_config())
            .build_group(&self.provider, info, self.credential.clone())
            .map_err(wrong)?
            .leaf_node_parameters(parameters)
            .load_psks(self.provider.storage())
            .map_err(wrong)?
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .map_err(wrong)?
            .finalize(&self.provider)
            .map_err(wrong)?;
        self.group = Some(group);
        let (commit, _, _) = bundle.into_messages();
        Ok(json!({"message": encoded(&commit)?}))
    }

    fn add_psk(&mut self, request: &Value) -> Answer {
        let id = self.psk_id(&bytes(request, "id")?)?;
        id.store(&self.provider, &bytes(request, "psk")?).map_err(wrong)?;
        Ok(json!({}))
    }

    fn answer(&mut self, request: &Value) -> Answer {
        match request["op"].as_str().unwrap_or("") {
            "key_package" => self.key_package(),
            "create" => self.create(request),
            "join" => self.join(request),
            "commit" => self.commit(request),
            "merge" => self.merge(),
            "drop" => self.drop_commit(),
            "propose" => self.propose(request),
            "process" => self.process(request),
            "process_all" => self.process_all(request),
            "protect" => self.protect(request),
            "state" => self.state(),
            "group_info" => self.group_info(),
            "external" => self.external(request),
            "psk" => self.add_psk(request),
            "tree" => {
                let tree = self.group()?.export_ratchet_tree();
                Ok(json!({"tree": encoded(&tree)?}))
            }
            other => Err(format!("unknown op {other}")),
        }
    }
}

fn main() {
    let mut clients: HashMap<String, Client> = HashMap::new();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str::<Value>(&line) {
            Err(error) => Err(wrong(error)),
            Ok(request) => {
                let who = request["who"].as_str().unwrap_or("").to_string();
                if request["op"] == "client" {
                    let number = request["suite"].as_u64().unwrap_or(0) as u16;
                    let public = request["public"].as_bool().unwrap_or(false);
                    Ciphersuite::try_from(number)
                        .map_err(wrong)
                        .and_then(|suite| Client::new(&who, suite, public))
                        .map(|client| {
                            clients.insert(who, client);
                            json!({})
                        })
                } else {
                    match clients.get_mut(&who) {
                        Some(client) => client.answer(&request),
                        None => Err(format!("unknown client {who}")),
                    }
                }
            }
        };
        let line = match answer {
            Ok(value) => value,
            Err(error) => json!({ "error": error }),
        };
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
