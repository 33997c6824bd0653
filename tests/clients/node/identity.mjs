// Prints the token that @azure/identity gets: identity.mjs managed|bindings CLIENT_ID SCOPE
import { ManagedIdentityCredential, WorkloadIdentityCredential } from "@azure/identity";

const [kind, clientId, scope] = process.argv.slice(2);
const credential =
  kind === "managed"
    ? clientId
      ? new ManagedIdentityCredential({ clientId })
      : new ManagedIdentityCredential()
    : new WorkloadIdentityCredential({
        clientId: process.env.AZURE_CLIENT_ID,
        tenantId: process.env.AZURE_TENANT_ID,
        enableAzureProxy: true,
      });
const { token } = await credential.getToken(scope);
console.log(token);
