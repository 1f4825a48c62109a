//! `config` of a store.

use crate::{
    s3::RegionName,
    settings::{Optional, Secret, SecretValue, UNSUPPORTED, settings},
    store::StoreSettings,
};

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
    }
    include {
        /// The settings of the store.
        store: StoreSettings,
    }
    reject {
        "metadata_endpoint" => UNSUPPORTED,
        "imdsv1_fallback" => UNSUPPORTED,
        "metadata_service_timeout" => UNSUPPORTED,
        "metadata_service_num_attempts" => UNSUPPORTED,
        "ec2_metadata_service_endpoint" => UNSUPPORTED,
        "container_credentials_relative_uri" => UNSUPPORTED,
        "container_credentials_full_uri" => UNSUPPORTED,
        "container_authorization_token_file" => UNSUPPORTED,
        "web_identity_token_file" => UNSUPPORTED,
        "role_arn" => UNSUPPORTED,
        "role_session_name" => UNSUPPORTED,
        "endpoint_url_sts" => UNSUPPORTED,
        "profile" => UNSUPPORTED,
        "config_file" => UNSUPPORTED,
        "shared_credentials_file" => UNSUPPORTED,
        "boto_config" => UNSUPPORTED,
        "addressing" => UNSUPPORTED,
        "addressing_style" => UNSUPPORTED,
    }
}
