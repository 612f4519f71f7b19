//! mls-rs behind the line protocol of the OpenMLS peer (tests/interop/mls/peers.py), with ReInit.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use mls_rs::client_builder::MlsConfig;
use mls_rs::group::{ReceivedMessage, ReinitClient};
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::identity::SigningIdentity;
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::psk::{ExternalPskId, PreSharedKey};
use mls_rs::storage_provider::in_memory::InMemoryPreSharedKeyStorage;
use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, Group, MlsMessage,
    ProtocolVersion,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use serde_json::{json, Value};

type Answer = Result<Value, String>;

struct Member<C: MlsConfig> {
    client: Client<C>,
    psks: InMemoryPreSharedKeyStorage,
    group: Option<Group<C>>,
    next: Option<ReinitClient<C>>,
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

fn message(raw: &[u8]) -> Result<MlsMessage, String> {
    MlsMessage::from_bytes(raw).map_err(wrong)
}

fn messages(request: &Value, name: &str) -> Result<Vec<MlsMessage>, String> {
    list(request, name)
        .iter()
        .map(|one| message(&hex::decode(one.as_str().unwrap_or("")).map_err(wrong)?))
        .collect()
}

fn encoded(value: &MlsMessage) -> Result<String, String> {
    Ok(hex::encode(value.to_bytes().map_err(wrong)?))
}

impl<C: MlsConfig> Member<C> {
    fn group(&mut self) -> Result<&mut Group<C>, String> {
        self.group.as_mut().ok_or("no group".to_string())
    }

    fn commit(&mut self, request: &Value) -> Answer {
        let added = messages(request, "add")?;
        let mut builder = self.group()?.commit_builder();
        for package in added {
            builder = builder.add_member(package).map_err(wrong)?;
        }
        for one in list(request, "remove") {
            builder = builder.remove_member(one.as_u64().unwrap_or(0) as u32).map_err(wrong)?;
        }
        for one in list(request, "psks") {
            let id = hex::decode(one.as_str().unwrap_or("")).map_err(wrong)?;
            builder = builder.add_external_psk(ExternalPskId::new(id)).map_err(wrong)?;
        }
        if request["reinit"].is_object() {
            let suite = CipherSuite::from(request["reinit"]["suite"].as_u64().unwrap_or(0) as u16);
            let group_id = bytes(&request["reinit"], "group_id")?;
            builder = builder
                .reinit(Some(group_id), ProtocolVersion::MLS_10, suite, ExtensionList::new())
                .map_err(wrong)?;
        }
        let out = builder.build().map_err(wrong)?;
        let welcome = match out.welcome_messages().first() {
            Some(one) => Some(encoded(one)?),
            None => None,
        };
        Ok(json!({"message": encoded(out.commit_message())?, "welcome": welcome}))
    }

    fn propose(&mut self, request: &Value) -> Answer {
        let kind = request["kind"].as_str().unwrap_or("").to_string();
        let nothing = Vec::new();
        let out = match kind.as_str() {
            "update" => self.group()?.propose_update(nothing),
            "remove" => {
                let leaf = request["leaf"].as_u64().unwrap_or(0) as u32;
                self.group()?.propose_remove(leaf, nothing)
            }
            "add" => {
                let package = message(&bytes(request, "key_package")?)?;
                self.group()?.propose_add(package, nothing)
            }
            "psk" => {
                let id = ExternalPskId::new(bytes(request, "id")?);
                self.group()?.propose_external_psk(id, nothing)
            }
            _ => return Err(format!("unknown kind {kind}")),
        };
        Ok(json!({"message": encoded(&out.map_err(wrong)?)?}))
    }

    fn process(&mut self, request: &Value) -> Answer {
        let incoming = message(&bytes(request, "message")?)?;
        match self.group()?.process_incoming_message(incoming).map_err(wrong)? {
            ReceivedMessage::ApplicationMessage(one) => Ok(json!({
                "kind": "application", "data": hex::encode(one.data()), "sender": one.sender_index,
            })),
            ReceivedMessage::Commit(_) => Ok(json!({"kind": "commit"})),
            ReceivedMessage::Proposal(_) => Ok(json!({"kind": "proposal"})),
            _ => Err("another kind of content".into()),
        }
    }

    fn state(&mut self) -> Answer {
        let group = self.group()?;
        let members: Vec<_> = group.roster().members_iter().map(|one| one.index).collect();
        let exported = group.export_secret(b"interop", b"context", 32).map_err(wrong)?;
        Ok(json!({
            "epoch": group.current_epoch(),
            "authenticator": hex::encode(group.epoch_authenticator().map_err(wrong)?.as_bytes()),
            "exporter": hex::encode(exported.as_bytes()),
            "members": members,
            "leaf": group.current_member_index(),
            "active": true,
        }))
    }

    /// What comes after a ReInit: the old group is used up.
    fn next(&mut self) -> Result<&mut ReinitClient<C>, String> {
        if self.next.is_none() {
            let group = self.group.take().ok_or("no group")?;
            self.next = Some(group.get_reinit_client(None, None).map_err(wrong)?);
        }
        self.next.as_mut().ok_or("no group that ended".to_string())
    }

    fn answer(&mut self, request: &Value) -> Answer {
        match request["op"].as_str().unwrap_or("") {
            "key_package" => {
                let made = self
                    .client
                    .generate_key_package_message(Default::default(), Default::default(), None)
                    .map_err(wrong)?;
                Ok(json!({"message": encoded(&made)?}))
            }
            "create" => {
                let group_id = bytes(request, "group_id")?;
                let made = self
                    .client
                    .create_group_with_id(group_id, Default::default(), Default::default(), None)
                    .map_err(wrong)?;
                self.group = Some(made);
                Ok(json!({}))
            }
            "join" => {
                let welcome = message(&bytes(request, "welcome")?)?;
                let (group, _) = self.client.join_group(None, &welcome, None).map_err(wrong)?;
                self.group = Some(group);
                Ok(json!({}))
            }
            "commit" => self.commit(request),
            "merge" => {
                self.group()?.apply_pending_commit().map_err(wrong)?;
                Ok(json!({}))
            }
            "drop" => {
                self.group()?.clear_pending_commit();
                Ok(json!({}))
            }
            "propose" => self.propose(request),
            "process" => self.process(request),
            "protect" => {
                let data = bytes(request, "data")?;
                let made = self
                    .group()?
                    .encrypt_application_message(&data, Vec::new())
                    .map_err(wrong)?;
                Ok(json!({"message": encoded(&made)?}))
            }
            "state" => self.state(),
            "group_info" => {
                let info =
                    self.group()?.group_info_message_allowing_ext_commit(true).map_err(wrong)?;
                Ok(json!({"message": encoded(&info)?}))
            }
            "external" => {
                let info = message(&bytes(request, "group_info")?)?;
                let builder = self.client.external_commit_builder().map_err(wrong)?;
                let (group, commit) = builder.build(info).map_err(wrong)?;
                self.group = Some(group);
                Ok(json!({"message": encoded(&commit)?}))
            }
            "psk" => {
                let id = ExternalPskId::new(bytes(request, "id")?);
                self.psks.insert(id, PreSharedKey::from(bytes(request, "psk")?));
                Ok(json!({}))
            }
            "next_key_package" => {
                let made = self.next()?.generate_key_package(None).map_err(wrong)?;
                Ok(json!({"message": encoded(&made)?}))
            }
            "next_join" => {
                let welcome = message(&bytes(request, "welcome")?)?;
                self.next()?;
                let client = self.next.take().ok_or("no group that ended")?;
                let (group, _) = client.join(&welcome, None, None).map_err(wrong)?;
                self.group = Some(group);
                Ok(json!({}))
            }
            "next_create" => {
                let packages = messages(request, "add")?;
                self.next()?;
                let client = self.next.take().ok_or("no group that ended")?;
                let (group, welcomes) =
                    client.commit(packages, ExtensionList::new(), None).map_err(wrong)?;
                self.group = Some(group);
                let welcome = welcomes.first().ok_or("no Welcome")?;
                Ok(json!({"welcome": encoded(welcome)?}))
            }
            other => Err(format!("unknown op {other}")),
        }
    }
}

fn make_client(
    name: &str,
    suite: CipherSuite,
    public: bool,
    psks: InMemoryPreSharedKeyStorage,
) -> Result<Client<impl MlsConfig>, String> {
    let crypto = AwsLcCryptoProvider::default();
    let provider = crypto.cipher_suite_provider(suite).ok_or("the suite is not supported")?;
    let (secret, public_key) = provider.signature_key_generate().map_err(wrong)?;
    let credential = BasicCredential::new(name.as_bytes().to_vec()).into_credential();
    let identity = SigningIdentity::new(credential, public_key);
    let rules = DefaultMlsRules::new()
        .with_commit_options(CommitOptions::new().with_path_required(true))
        .with_encryption_options(EncryptionOptions::new(!public, Default::default()));
    Ok(Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(crypto)
        .psk_store(psks)
        .mls_rules(rules)
        .signing_identity(identity, secret, suite)
        .build())
}

fn run<C: MlsConfig>(
    make: impl Fn(&str, CipherSuite, bool, InMemoryPreSharedKeyStorage) -> Result<Client<C>, String>,
) {
    let mut members: HashMap<String, Member<C>> = HashMap::new();
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let answer = match serde_json::from_str::<Value>(&line) {
            Err(error) => Err(wrong(error)),
            Ok(request) => {
                let who = request["who"].as_str().unwrap_or("").to_string();
                if request["op"] == "client" {
                    let suite = CipherSuite::from(request["suite"].as_u64().unwrap_or(0) as u16);
                    let public = request["public"].as_bool().unwrap_or(false);
                    let psks = InMemoryPreSharedKeyStorage::default();
                    make(&who, suite, public, psks.clone()).map(|client| {
                        let member = Member { client, psks, group: None, next: None };
                        members.insert(who, member);
                        json!({})
                    })
                } else {
                    match members.get_mut(&who) {
                        Some(member) => member.answer(&request),
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

fn main() {
    run(make_client);
}
