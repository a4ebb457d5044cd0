#!/usr/bin/env bash
# Makes the archive of an upgrade test: a data directory with a little of everything, made by the keyherald that is given, what belongs to it,
# and what that keyherald says of it. README.md says when.
#
#     make.sh KEYHERALD NATS FILE.tar.gz
set -euo pipefail
keyherald=$(realpath "$1") nats=$(realpath "$2") archive=$(realpath "$3")
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"
mkdir made
cd made
export HOME=$work KEYHERALD_DATA=d KEYHERALD_ISSUER=https://auth.example.com
http=127.0.0.1:18081 bus=127.0.0.1:14223
kh() { "$keyherald" "$@"; }
op() { "$nats" --server $bus --nkey d/nats/operator.nk "$@" >/dev/null; }
expect() { "$keyherald" "$@" >"expect/$(echo "$*" | tr ' ' +)"; }
newer='{"b":[1.50,-0.0,123456789012345678901.0e-2],"a":{"":"\u00e9\/<&>","null":null},"B":[[],{}]}'
far=2100-01-01T00:00:00Z

"$keyherald" serve --data d --http $http --nats-listen $bus 2>serve.log &
curl -sf --retry 20 --retry-connrefused --retry-all-errors http://$http/readyz >/dev/null

# A client with keys in every state, API keys, certificates, an identity elsewhere.
kh client create orders --scope "billing:read billing:write" --audience https://billing --resource https://orders --offline
kh key add orders --kid active >orders.active
kh key add orders --kid pending --nbf $far >orders.pending
kh key add orders --kid retiring --exp $far >orders.retiring
kh key add orders --kid expired >orders.expired
op kv put KEYS key.orders.expired "$("$nats" --server $bus --nkey d/nats/operator.nk kv get --raw KEYS key.orders.expired | sed 's/}$/,"exp":1000000000}/')"
kh key add orders --kid revoked >orders.revoked
kh key revoke orders revoked --reason "laptop stolen <in Köln>"
kh key add orders --kid deleted >orders.deleted
op kv del -f KEYS key.orders.deleted
op kv put KEYS revoked.orders.later 'any message revokes'
kh secret add orders >orders.secret
kh secret add orders --exp $far >orders.secret2
kh secret add orders >orders.secret.revoked
kh secret revoke orders "$(kh secret list orders | tail -n 1 | cut -d' ' -f1)"
openssl req -x509 -newkey ed25519 -nodes -days 36500 -subj /CN=orders -keyout orders-tls.key -out orders-tls.pem 2>/dev/null
kh cert add orders orders-tls.pem
openssl genpkey -algorithm ed25519 -out builds.pem
openssl pkey -in builds.pem -pubout -out builds.pub
openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=x -out rsa.pem 2>/dev/null
kh issuer add builds --iss https://builds.example --use assertion --no-discovery
kh key add builds --kid b1 --public builds.pub
openssl x509 -in rsa.pem -pubkey -noout | kh key add builds --kid 'r/1 "x"' --alg PS256 --public -
kh federation add orders --external builds --sub "job:orders:*" --aud https://auth.example.com
kh client update orders --require-jti

# Others: disabled, with a subject, made over HTTP, malformed, of a newer version.
kh client create stock --audience https://billing --scope billing:read --offline
kh key add stock --kid s1 >stock.key
kh client disable stock
kh client create billing --max-token-ttl 2h
kh cert subject billing --san-dns billing.example.com
kh issuer add login --iss https://login.example --use access_token --audience https://billing --scope billing:read --no-discovery
kh issuer disable login
admin=$(kh token mint --key-file d/admin.key --account)
curl -sf http://$http/v1/clients -H "Authorization: Bearer $admin" -H 'Content-Type: application/json' \
	-d '{"clientId":"warehouse","name":"Warehouse","tags":{"team":"a"},"options":{"x":1.50}}' >/dev/null
op kv put KEYS key.orders.active 'not json'
op kv put KEYS key.orders.broken '{"kty":"oct"}'
op kv put KEYS issuer.newer '{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read","offline":true,"x":'"$newer"'}'
op kv put KEYS key.newer.n1 '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","x5":'"$newer"'}'
op kv put CLIENTS newer '{"secrets":[{"id":"a","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","x":'"$newer"'}],"x":'"$newer"'}'

# What is used: tokens, assertions, a revoked token, a gate's snapshot.
curl -sf http://$http/oauth/token -d grant_type=client_credentials -d client_secret="$(cat orders.secret)" >/dev/null
curl -sf http://$http/oauth/token -d grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer \
	--data-urlencode "assertion=$(kh token assert --grant --key-file orders.active)" >/dev/null
kh token mint --key-file orders.active --audience https://billing --ttl 24h >revoked.token
kh token revoke --reason "logged out" <revoked.token
"$keyherald" gate --audience https://billing --listen 127.0.0.1:19181 --snapshot snapshot 2>gate.log &
gate=$!
curl -sf --retry 20 --retry-connrefused --retry-all-errors http://127.0.0.1:19181/readyz >/dev/null
kill $gate
wait $gate
test -s snapshot

# What this keyherald says of it.
mkdir expect
expect client list --json
expect issuer list --json
for name in orders stock billing warehouse newer sc_admin; do expect client show $name; done
for name in builds login; do expect issuer show $name; done
for name in orders stock builds; do expect key list $name --json; done
for list in secret cert federation; do expect $list list orders --json; done
expect cert list billing --json
expect status --json
for bucket in KEYS REVOCATIONS CLIENTS ASSERTIONS USAGE; do
	"$nats" --server $bus --nkey d/nats/operator.nk stream info KV_$bucket --json >expect-stream-$bucket.json
done
kill %1
wait %1
rm -f serve.log gate.log rsa.pem
tar -C "$work/made" --sort=name --owner=0 --group=0 -czf "$archive" .
