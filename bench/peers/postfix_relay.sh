#!/bin/bash
# A Debian Postfix on loopback as a relaying operator: private configuration, mutual TLS, no mailbox.
# usage: postfix_relay.sh start DIR PKI PORT [NEXT_PORT]  |  free DIR  |  stop DIR
# Without NEXT_PORT it takes letters for peer.test and throws them away once they are durably queued (the receiver). With it,
# letters for peer.test go to [localhost]:NEXT_PORT, and each waits on hold until `free` lets all of them go at once (the
# sender). Durability is the default: a queue file is flushed before the 250. The sender reuses TLS connections, which
# Postfix does not do by itself. Needs root and Debian's package postfix.
set -eu
act=${1:?start|free|stop}; D=${2:?dir}
case $act in
stop) [ -f "$D/spool/pid/master.pid" ] && kill "$(cat "$D/spool/pid/master.pid")" || true; exit 0 ;;
free) find "$D/spool/hold" -type f -exec mv -t "$D/spool/incoming" {} +
  for _ in 1 2 3 4 5; do postkick -c "$D" public qmgr I && exit 0; done; exit 1 ;;
esac
PKI=${3:?pki}; PORT=${4:?port}; NEXT=${5:-}
rm -rf "$D"; mkdir -p "$D/spool" "$D/data"; chmod 755 "$D" "$D/spool"; chown postfix "$D/data"
cat >"$D/main.cf" <<C
compatibility_level = 3.6
queue_directory = $D/spool
data_directory = $D/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = $D
maillog_file = $D/postfix.log
myhostname = mx.${NEXT:+sender.}peer.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
message_size_limit = 52428800
in_flow_delay = 0s
smtpd_tls_security_level = encrypt
smtpd_tls_ask_ccert = yes
smtpd_tls_req_ccert = yes
smtpd_tls_chain_files = $PKI/server.key, $PKI/server.pem
smtpd_tls_CAfile = $PKI/ca.pem
smtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination
C
if [ -n "$NEXT" ]; then
cat >>"$D/main.cf" <<C
relay_domains = peer.test
transport_maps = inline:{ peer.test=smtp:[localhost]:$NEXT }
smtpd_data_restrictions = check_client_access static:HOLD
smtp_host_lookup = native
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = nexthop
smtp_tls_chain_files = $PKI/server.key, $PKI/server.pem
smtp_tls_CAfile = $PKI/ca.pem
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:\${data_directory}/smtp_scache
C
else
cat >>"$D/main.cf" <<C
virtual_mailbox_domains = peer.test
virtual_mailbox_maps = static:all
virtual_transport = discard:
C
fi
cat >"$D/master.cf" <<C
127.0.0.1:$PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
C
postfix -c "$D" start 2>&1 | grep -v 'not owned by' || true
for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/"$PORT") 2>/dev/null && exit 0; sleep .1; done
echo "Postfix did not start; logs in $D"; exit 1
