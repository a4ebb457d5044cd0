package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

const description = `Machine-to-machine authentication with live keys.

Flags have the environment twins that their help names: --data has KEYHERALD_DATA, and so on. Commands that an operator uses work against a running
system over NATS: that of --data on this machine, or any with --nats and --nkey or --creds.

Exit codes: 0 done, 1 failed or refused, 2 the command line is wrong, 3 undecided (token verify, doctor).`

// flagGroups are the headings under which flags stand that are not a command's own.
func flagGroups() []kong.Group {
	return []kong.Group{
		{Key: "records", Title: "Where the records are:"},
		{Key: "global", Title: "With every command:"},
	}
}

// examples of command lines. A test parses each of them.
var examples = map[string]string{
	"serve": `
		keyherald serve --data d --http 127.0.0.1:8080 --nats-listen 127.0.0.1:4222
		keyherald serve --nats nats://nats.example.com:4222 --creds issuer.creds --issuer https://auth.example.com
		keyherald serve --jwks-allow 10.96.0.1/32 --jwks-ca /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
		keyherald serve --nats nats://nats.example.com:4222 --nkey issuer.nk --signing-key signing.pem --issuer https://auth.example.com
		keyherald serve --http 0.0.0.0:8443 --issuer https://auth.example.com:8443 --tls-cert server.pem --tls-key server.key --tls-client-ca clients.pem
		keyherald serve --issuer https://auth.example.com --trusted-proxy 10.0.0.0/28 --client-cert-header Client-Cert
		keyherald serve --nats-listen 0.0.0.0:4222 --nats-tls-cert nats.pem --nats-tls-key nats.key --nats-tls-ca ca.pem
		keyherald serve --nats tls://nats.example.com:4222 --nats-tls-ca ca.pem --nkey issuer.nk --issuer https://auth.example.com`,
	"gate": `
		keyherald gate --data d --audience https://orders --scope orders:read
		keyherald gate --nats nats://nats.example.com:4222 --nkey verifier.nk --audience https://orders --listen unix:/run/keyherald/gate.sock
		keyherald gate --audience https://orders --policy read=scope:orders:read --policy admin=scope:orders:admin,audience:https://admin`,
	"ready": `
		keyherald ready
		keyherald ready http://127.0.0.1:9180 --timeout 2s`,
	"init": `
		keyherald init --nats nats://nats.example.com:4222 --nkey admin.nk --replicas 3
		keyherald init --nats nats://nats.example.com:4222 --nkey operator.nk --check --json`,
	"doctor": `
		keyherald doctor --data d
		keyherald doctor --nats nats://a:4222,nats://b:4222,nats://c:4222 --nkey operator.nk --monitor http://a:8222,http://b:8222,http://c:8222
		keyherald doctor --nats nats://a:4222 --nkey operator.nk --check-role verifier=verifier.nk,issuer=issuer.creds --replicas 3 --json`,
	"client create": `keyherald client create orders --scope "billing:read billing:write" --audience https://billing --offline`,
	"client list":   `keyherald client list --json`,
	"client show":   `keyherald client show orders`,
	"client update": `
		keyherald client update orders --audience https://billing --audience https://stock --no-offline
		keyherald client update orders --require-jti`,
	"client disable": `keyherald client disable orders`,
	"client enable":  `keyherald client enable orders`,
	"issuer add": `
		keyherald issuer add login --iss https://login.example.com --use access_token --audience https://billing
		keyherald issuer add github --iss https://token.actions.githubusercontent.com --use assertion
		keyherald issuer add cluster --iss https://kubernetes.default.svc.cluster.local --use assertion --jwks-uri https://10.96.0.1/openid/v1/jwks`,
	"issuer update":  `keyherald issuer update login --jwks-uri https://login.example.com/keys`,
	"issuer refresh": `keyherald issuer refresh login`,
	"issuer list":    `keyherald issuer list --json`,
	"issuer show":    `keyherald issuer show login`,
	"issuer disable": `keyherald issuer disable login`,
	"issuer enable":  `keyherald issuer enable login`,
	"key add": `
		keyherald key add orders > orders.key
		keyherald key add orders --public public.pem`,
	"key list": `
		keyherald key list
		keyherald key list orders --json`,
	"key rotate": `keyherald key rotate orders --overlap 1h > orders.new.key`,
	"key retire": `keyherald key retire orders pogP`,
	"key revoke": `keyherald key revoke orders pogP --reason "laptop stolen"`,
	"key export": `keyherald key export orders > orders.jwks`,
	"key import": `
		keyherald key import orders orders.jwks
		keyherald key import login - < login.jwks`,
	"secret add":    `keyherald secret add orders > orders.secret`,
	"secret list":   `keyherald secret list orders`,
	"secret revoke": `keyherald secret revoke orders 5p22fX0M`,
	"cert add":      `keyherald cert add orders orders.pem`,
	"cert remove":   `keyherald cert remove orders bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0`,
	"cert subject": `
		keyherald cert subject orders --san-dns orders.example.com
		keyherald cert subject orders --san-uri spiffe://example.com/orders`,
	"cert list":         `keyherald cert list orders`,
	"cert clear":        `keyherald cert clear orders`,
	"federation add":    `keyherald federation add orders --external github --sub "repo:acme/orders:ref:refs/heads/main" --aud https://auth.example.com`,
	"federation list":   `keyherald federation list orders`,
	"federation remove": `keyherald federation remove orders --external github --sub "repo:acme/orders:ref:refs/heads/main" --aud https://auth.example.com`,
	"token mint":        `keyherald token mint --issuer http://127.0.0.1:8080 --key-file orders.key --audience https://billing`,
	"token request": `
		keyherald token request --issuer http://127.0.0.1:8080 --key-file orders.key
		keyherald token request --issuer http://127.0.0.1:8080 --secret-file orders.secret
		keyherald token request --issuer https://auth.example.com --client orders --assertion-file /var/run/secrets/tokens/keyherald
		keyherald token request --issuer https://auth.example.com --client orders --tls-cert orders.pem --tls-key orders-key.pem --tls-ca ca.pem`,
	"token assert": `
		keyherald token assert --issuer http://127.0.0.1:8080 --key-file orders.key
		keyherald token assert --issuer http://127.0.0.1:8080 --key-file orders.key --grant`,
	"token verify": `
		keyherald token verify --audience https://billing < token
		keyherald token verify --audience https://billing --cert orders.pem < token`,
	"token revoke": `keyherald token revoke --reason "sent by mail" < token`,
	"token decode": `keyherald token decode < token`,
	"watch":        `keyherald watch --json`,
	"status":       `keyherald status --json`,
	"backup": `
		keyherald backup keyherald-2030-01-31.backup
		keyherald backup - --nats nats://nats.example.com:4222 --nkey operator.nk > keyherald.backup`,
	"restore": `
		keyherald restore keyherald-2030-01-31.backup --check
		keyherald restore keyherald-2030-01-31.backup --dry-run
		keyherald restore keyherald-2030-01-31.backup --force`,
	"nats-user add": `
		keyherald nats-user add --role verifier billing --out billing.nk
		keyherald nats-user add --role issuer node2 --public UAR44TB3BYO4Y6MISJEBUM5PHGKZO2SKF5SNVZOSKIGNYHHYOXJ7NSRB`,
	"nats-user list":   `keyherald nats-user list --json`,
	"nats-user revoke": `keyherald nats-user revoke billing`,
	"nats-config nkeys": `
		keyherald nats-config nkeys admin=UAR44TB3BYO4Y6MISJEBUM5PHGKZO2SKF5SNVZOSKIGNYHHYOXJ7NSRB
		keyherald nats-config nkeys --seeds seeds admin operator issuer billing:verifier stock:verifier > keyherald.conf`,
	"nats-config jwt": `
		keyherald nats-config jwt --dir trust admin operator issuer billing:verifier > keyherald.conf
		keyherald nats-config jwt --dir trust --revoke billing billing2:verifier > keyherald.conf`,
	"demo": `keyherald demo --verifiers 100`,
	"bench verify": `
		keyherald bench verify
		keyherald bench verify --keys 100000 --duration 30s --parallel 1 --json`,
	"bench propagate": `
		keyherald bench propagate --verifiers 1000
		keyherald bench propagate --nats nats://nats.example.com:4222 --nkey operator.nk --verifiers 200`,
}

// finishHelp adds the examples to what a command says itself (its method Help), and puts --help where the other flags of all commands are.
func finishHelp(model *kong.Application) {
	for _, group := range flagGroups() {
		if group.Key == "global" {
			model.HelpFlag.Group = &group
		}
	}
	for _, command := range model.Leaves(false) {
		if text := examples[command.Path()]; text != "" {
			example := "Example:\n\n\t" + strings.ReplaceAll(strings.TrimSpace(text), "\n\t\t", "\n\t")
			command.Detail = strings.TrimSpace(command.Detail + "\n\n" + example)
		}
	}
}

// describeFlag is the help of a flag: with its default, unless the text tells it, and its environment twin.
func describeFlag(v *kong.Value) string {
	var notes []string
	if v.HasDefault && v.Default != "" && !strings.Contains(v.Help, "Default:") {
		notes = append(notes, "default "+v.Default)
	}
	for _, name := range v.Tag.Envs {
		notes = append(notes, "$"+name)
	}
	if len(notes) == 0 {
		return v.Help
	}
	return fmt.Sprintf("%s (%s).", strings.TrimSuffix(v.Help, "."), strings.Join(notes, ", "))
}

// version is what the build knows about itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "keyherald (unknown version)"
	}
	return fmt.Sprintf("keyherald %s, %s, %s/%s", info.Main.Version, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}
