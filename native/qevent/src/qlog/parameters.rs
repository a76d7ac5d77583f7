//! Transport parameters as the members of parameters_set (draft-ietf-quic-qlog-quic-events).
//!
//! Called once for each end's parameters. Tokens are left out (attacks I12).

use qbase::param::TransportParameters;

use super::json::Json;

/// Writes all parameters of one end.
pub fn members(json: &mut Json, parameters: &TransportParameters) {
    let cids = [
        ("original_destination_connection_id", parameters.original_destination_connection_id),
        ("initial_source_connection_id", parameters.initial_source_connection_id),
        ("retry_source_connection_id", parameters.retry_source_connection_id),
    ];
    for (name, cid) in cids {
        if let Some(cid) = cid {
            json.key(name).hex(cid.as_bytes());
        }
    }
    json.key("disable_active_migration").flag(parameters.disable_active_migration);
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let numbers = [
        ("max_idle_timeout", millis(parameters.max_idle_timeout)),
        ("max_udp_payload_size", parameters.max_udp_payload_size),
        ("ack_delay_exponent", u64::from(parameters.ack_delay_exponent)),
        ("max_ack_delay", millis(parameters.max_ack_delay)),
        ("active_connection_id_limit", parameters.active_connection_id_limit),
        ("initial_max_data", parameters.initial_max_data),
        ("initial_max_stream_data_bidi_local", parameters.initial_max_stream_data_bidi_local),
        ("initial_max_stream_data_bidi_remote", parameters.initial_max_stream_data_bidi_remote),
        ("initial_max_stream_data_uni", parameters.initial_max_stream_data_uni),
        ("initial_max_streams_bidi", parameters.initial_max_streams_bidi),
        ("initial_max_streams_uni", parameters.initial_max_streams_uni),
        ("max_datagram_frame_size", parameters.max_datagram_frame_size),
    ];
    for (name, value) in numbers {
        json.key(name).number(value);
    }
    if let Some(least) = parameters.min_ack_delay {
        json.key("min_ack_delay").number(u64::try_from(least.as_micros()).unwrap_or(u64::MAX));
    }
    json.key("grease_quic_bit").flag(parameters.grease_quic_bit);
    if let Some(maximum) = parameters.initial_max_path_id {
        json.key("initial_max_path_id").number(u64::from(maximum.0));
    }
    if let Some(maximum) = parameters.shared_space_max_path_id {
        json.key("shared_space_max_path_id").number(u64::from(maximum.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::PathId;

    #[test]
    fn parameters_have_the_names_of_the_schema() {
        let parameters = TransportParameters { initial_max_path_id: Some(PathId(7)), max_ack_delay: std::time::Duration::from_millis(25), min_ack_delay: Some(std::time::Duration::from_millis(1)), ..TransportParameters::default() };
        let mut json = Json::default();
        json.object(|json| members(json, &parameters));
        let text = String::from_utf8(json.into_bytes()).expect("UTF-8");
        assert!(text.contains(r#""max_ack_delay":25,"#) && text.contains(r#""min_ack_delay":1000,"#) && text.ends_with(r#""initial_max_path_id":7}"#), "{text}");
        assert!(!text.contains("reset_token"), "{text}");
    }

    #[test]
    fn the_parameter_of_the_shared_space_stands_under_its_own_name() {
        let parameters = TransportParameters { shared_space_max_path_id: Some(PathId(7)), ..TransportParameters::default() };
        let mut json = Json::default();
        json.object(|json| members(json, &parameters));
        let text = String::from_utf8(json.into_bytes()).expect("UTF-8");
        assert!(text.ends_with(r#""shared_space_max_path_id":7}"#) && !text.contains("initial_max_path_id"), "{text}");
    }
}
