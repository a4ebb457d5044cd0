package main

import "fmt"

type tokenAssertCmd struct {
	credential
	Issuer   string `help:"URL of the platform's token service." required:"" placeholder:"URL"`
	Audience string `name:"aud" help:"Whom the assertion is for. Default: the token service, by the URL of --issuer." placeholder:"AUD" sep:"none"`
	Grant    bool   `help:"Make one for the parameter assertion of the grant jwt-bearer. Without it, one for client_assertion."`
}

func (c *tokenAssertCmd) Run(a *app) error {
	minter, err := c.minter(c.Issuer)
	if err != nil {
		return err
	}
	assert := minter.Assertion
	if c.Grant {
		assert = minter.GrantAssertion
	}
	assertion, err := assert(c.Audience)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, assertion)
	return err
}
