// Without validatorUrl the page would ask a server on the internet to check the document.
const docs = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  oauth2RedirectUrl: `${location.origin}/docs/assets/oauth2-redirect.html`,
});
// The provider knows this page as a public client, whose id can be changed in the dialog.
docs.initOAuth({
  clientId: "orders-docs",
  usePkceWithAuthorizationCodeGrant: true,
  scopes: ["orders:read", "orders:create", "orders:cancel", "uploads:create"],
});
