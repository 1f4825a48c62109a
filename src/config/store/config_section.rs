//! `config` of a store.

use std::time::Duration;

use crate::{
    s3::RegionName,
    settings::{
        FilePath, Flag, LocalPath, Number, Optional, Secret, SecretValue, Text, Timeout, UNSUPPORTED,
        settings,
    },
    store::StoreSettings,
    transport::{CertificatesFile, RootCertificates},
};

use super::credentials::{ProviderUrl, RoleArn, SessionName};

settings! {
    /// `config`. As in object_store, every key may also be written with the prefix `aws_`.
    pub(in crate::config) struct Config(ConfigSection), keys "aws_" {
        /// The id of the access key.
        access_key_id: Option<SecretValue> as Optional<Secret> = None,
        /// The secret of the access key.
        secret_access_key: Option<SecretValue> as Optional<Secret> = None,
        /// The token of temporary credentials.
        session_token ["token"]: Option<SecretValue> as Optional<Secret> = None,
        /// The region, if neither `region` nor the URL sets it.
        default_region {"AWS_DEFAULT_REGION"}: Option<String> as Optional<RegionName> = None,
        /// With `web_identity_token_file`: `role_arn` of `type: web_identity`.
        role_arn: Option<String> as Optional<RoleArn> = None,
        /// `role_session_name` of `type: web_identity`.
        role_session_name: Option<String> as Optional<SessionName> = None => "`longshore`",
        /// With `role_arn`: `token_file` of `type: web_identity`.
        web_identity_token_file: Option<LocalPath> as Optional<FilePath> = None,
        /// `endpoint` of the types that use STS.
        endpoint_url_sts: Option<String> as Optional<ProviderUrl> = None => "that of AWS",
        /// `profile` of `type: profile`.
        profile: Option<String> as Optional<Text> = None,
        /// `config_file` of `type: profile`.
        aws_config_file = "config_file": Option<LocalPath> as Optional<FilePath> = None => "`~/.aws/config`",
        /// `shared_credentials_file` of `type: profile`.
        shared_credentials_file: Option<LocalPath> as Optional<FilePath> = None => "`~/.aws/credentials`",
        /// `boto_config` of `type: default`.
        boto2_file = "boto_config": Option<LocalPath> as Optional<FilePath> = None => "`/etc/boto.cfg` and `~/.boto`",
        /// `root_certificates` of `client_options`, in place of the certificates of the system.
        ca_bundle {"AWS_CA_BUNDLE"}: Option<RootCertificates> as Optional<CertificatesFile> = None,
        /// `endpoint` of `type: container`, as the path of a URL on 169.254.170.2.
        container_credentials_relative_uri: Option<String> as Optional<Text> = None,
        /// `endpoint` of `type: container`.
        container_credentials_full_uri: Option<String> as Optional<ProviderUrl> = None,
        /// `token_file` of `type: container`.
        container_authorization_token_file: Option<LocalPath> as Optional<FilePath> = None,
        /// `endpoint` of `type: imds`, or `metadata_endpoint` of `type: profile` and `type: default`.
        metadata_endpoint ["ec2_metadata_service_endpoint"]: Option<String> as Optional<ProviderUrl> =
            None => "`http://169.254.169.254`",
        /// `imdsv1_fallback` of `type: imds`.
        imdsv1_fallback: Option<bool> as Optional<Flag> = None => "`false`",
        /// `metadata_service_timeout` of `type: imds`.
        metadata_service_timeout: Option<Duration> as Optional<Timeout> = None => "`1s`",
        /// `metadata_service_num_attempts` of `type: imds`.
        metadata_service_num_attempts: Option<u32> as Optional<Number<1, 10>> = None => "`1`",
    }
    include {
        /// The settings of the store.
        store: StoreSettings,
    }
    reject {
        "addressing" => UNSUPPORTED,
        "addressing_style" => UNSUPPORTED,
    }
}
