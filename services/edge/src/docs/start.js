// Without validatorUrl the page would ask a server on the internet to check the document.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", validatorUrl: null });
