// The OpenAPI document, readable. Signed in on the page, it may be tried out here.
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";

SwaggerUI({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: false,
  validatorUrl: null,
  requestInterceptor: (request: { headers: Record<string, string> }) => {
    request.headers["X-Hostpulse-Page"] = "docs";
    return request;
  },
});
