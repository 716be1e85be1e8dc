import { Button } from "@chakra-ui/react";

/** To Airflow's login and back to this page. */
export function LoginButton() {
  const logIn = (): void => {
    const login = new URL("api/v2/auth/login", document.baseURI);
    login.searchParams.set("next", location.href);
    location.assign(login);
  };
  return (
    <Button onClick={logIn} size="sm">
      Log in again
    </Button>
  );
}
