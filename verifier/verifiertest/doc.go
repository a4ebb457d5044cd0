// Package verifiertest is for your own tests of a service that embeds the verifier: real tokens and a real verifier, without NATS, files
// or a token service.
//
//	const orders, stock = "https://orders.example.com", "https://stock.example.com"
//	kit := verifiertest.New(t, verifier.Config{Audience: orders})
//	handler := NewHandler(kit.Verifier()) // what you test
//
//	billing := kit.Client("billing", verifiertest.Scope("orders:read"), verifiertest.Audience(orders, stock)) // registered, with a key
//	token := billing.Token(verifiertest.Audience(orders))                                                     // send it to your handler
//	kit.RevokeKey(billing)                                                                                    // now it is refused
//
// Only two things are not those of production: the messages of the bucket are written by the kit and not by NATS, and the clock can be
// put forward. Records are encoded and folded, and tokens judged, by the code that does it everywhere else: what is refused here
// is refused there, and for the same reason.
//
// # What to test
//
// The verifier has its own tests; yours ask whether your handler heeds it. For most handlers that is one table:
//
//	a good token                     billing.Token()
//	of less scope                    billing.Token(verifiertest.Scope("orders:list"))
//	for another service              billing.Token(verifiertest.Audience(stock))
//	that has ended                   billing.Token(verifiertest.Expired())
//	that begins later                billing.Token(verifiertest.NotYetValid())
//	of the token service             billing.OnlineToken()
//	of a user, from another issuer   kit.External("login", verifiertest.Scope("orders:read")).Token("user|77")
//	of a client nobody knows         kit.Stranger("mallory").Token()
//	bound to a certificate           billing.Token(verifiertest.BoundTo(cert))
//	of a revoked key                 kit.RevokeKey(billing)
//	revoked by itself                kit.RevokeToken(token)
//	of a disabled client             kit.Disable(billing)
//	while contact is lost: 503       kit.GoStale(), and kit.GoFresh() for the end of it
//	after a while                    kit.Advance(time.Hour)
//
// The client's record names both services, so that nothing but your service's own audience stands between it and the token for the
// other one: without [Audience] the record would refuse that token, whatever your service takes itself for. For the same reason
// the good token says for whom it is: the kit would make it for the audience that your configuration says, right or wrong.
//
// # Concurrency
//
// What the kit does has happened when its method returns: the next Verify knows. Everything here may be called while a handler
// verifies, from any goroutine; but a method that fails ends the goroutine that called it, as t.Fatal does, so call what can
// fail from the test's own.
//
// Keys are made anew for every kit, and nothing outside of it accepts its tokens, not even another kit.
package verifiertest
