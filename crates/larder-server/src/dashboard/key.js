// The API key of whoever looks at the page; kept for this tab only.

const NAME = "larder-key";

export const rememberKey = (key) => sessionStorage.setItem(NAME, key);

export const hasKey = () => Boolean(sessionStorage.getItem(NAME));

/** The headers that a request needs. */
export function authorization() {
  const key = sessionStorage.getItem(NAME);
  return key ? { authorization: `Bearer ${key}` } : {};
}
